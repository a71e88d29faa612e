import { cropped, framed, squared } from './canvas.js'
import type { RgbImage } from './images.js'
import type { Fields } from './json.js'
import { channelsFirst, CLIP_PIXELS, joined, pixelScale, pixelValues } from './pixelValues.js'
import { resize } from './resize.js'
import { processorFields } from './visionProcessor.js'

/** Height and width in pixels. */
export type Size = readonly [height: number, width: number]

/** Prepares pictures and videos for LLaVA-OneVision as tiles of one size [tiles, 3, side, side]. */
export interface LlavaOnevisionProcessor {
  /** Side of a tile in pixels. */
  side: number
  /** The whole picture as a tile, then the tiles of the grid that fits it best; for one among several of a prompt, a tile of it in a square. */
  image(image: RgbImage, alone: boolean): { patches: Float32Array; tiles: number }
  /** Each frame as a tile. */
  video(frames: readonly RgbImage[]): Float32Array
}

/** Reads the image and the video processor.
 * @param pinpoints sizes of grids, as the model has them
 * @throws Error naming the file and the field for values that are missing, unsound, or ask for what is not supported
 * @source transformers 5.23, LlavaOnevisionImageProcessor and LlavaOnevisionVideoProcessor: the torchvision ones, which are its default */
export async function loadLlavaOnevisionProcessor(
  dir: string,
  pinpoints: readonly Size[],
): Promise<LlavaOnevisionProcessor> {
  const [images, videos] = [
    await processorFields(dir, 'image_processor'),
    await processorFields(dir, 'video_processor'),
  ]
  const side = sideOf(images)
  const [values, ofVideos] = [pixelValues(images, CLIP_PIXELS), pixelValues(videos, CLIP_PIXELS)]
  const background = pixelScale(images, CLIP_PIXELS).mean.map(x => Math.trunc(x * 255))
  const given = images.get('image_grid_pinpoints')
  if (given !== undefined && JSON.stringify(given) !== JSON.stringify(pinpoints))
    images.fail('image_grid_pinpoints', 'those of config.json')
  if (sideOf(videos) !== side) videos.fail('size', `${side} × ${side}, as of images`)
  const tile = (image: RgbImage) => resize(image, side, side, 'bicubic', 'torchvision')
  return {
    side,
    image(image, alone) {
      const tiles = alone ? [tile(image), ...gridOf(image, pinpoints, side)] : [tile(squared(image, background))]
      return { patches: joined(tiles.map(t => channelsFirst(t, values))), tiles: tiles.length }
    },
    video: frames => joined(frames.map(frame => channelsFirst(tile(frame), ofVideos))),
  }
}

/** `size`: a height and width that are the same, or the shortest edge of older files. */
function sideOf(fields: Fields): number {
  fields.only('do_resize', true)
  fields.only('do_center_crop', false)
  fields.only('resample', 3) // bicubic
  const size = fields.within('size')
  const side = size.count(size.has('shortest_edge') ? 'shortest_edge' : 'height', 384)
  size.only('width', side)
  return side
}

/** A picture in the middle of the grid that fits it best, cut into tiles row by row. */
function gridOf(image: RgbImage, pinpoints: readonly Size[], side: number): RgbImage[] {
  const [height, width] = bestResolution([image.height, image.width], pinpoints)
  const [across, down] = [width / image.width, height / image.height]
  const [w, h] = across < down ? [width, Math.min(Math.ceil(image.height * across), height)] : [Math.min(Math.ceil(image.width * down), width), height] // prettier-ignore
  const whole = framed(resize(image, w, h, 'bicubic', 'torchvision'), width, height, [0, 0, 0])
  const tiles: RgbImage[] = []
  for (let top = 0; top < height; top += side)
    for (let left = 0; left < width; left += side) tiles.push(cropped(whole, left, top, side, side))
  return tiles
}

/** Of sizes the one that keeps most of a picture's pixels, and of several such the smallest.
 * @source transformers 5.23, image_processing_utils.py: select_best_resolution */
export function bestResolution([height, width]: Size, sizes: readonly Size[]): Size {
  let [best, most, least] = [sizes[0]!, 0, Infinity]
  for (const size of sizes) {
    const scale = Math.min(size[1] / width, size[0] / height)
    const kept = Math.min(Math.trunc(width * scale) * Math.trunc(height * scale), width * height)
    const wasted = size[0] * size[1] - kept
    if (kept > most || (kept === most && wasted < least)) [best, most, least] = [size, kept, wasted]
  }
  return best
}
