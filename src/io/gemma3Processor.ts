import { cropped } from './canvas.js'
import type { RgbImage } from './images.js'
import { channelsFirst, HALF_PIXELS, joined, pixelValues } from './pixelValues.js'
import { resize } from './resize.js'
import { processorFields } from './visionProcessor.js'

/** Tiles of one size [tiles, 3, height, width]. */
export interface Tiles {
  patches: Float32Array
  tiles: number
}

/** When a picture that is long is also seen by its crops. */
export interface PanAndScan {
  min_crop_size: number
  max_num_crops: number
  min_ratio_to_activate: number
}

/** Reads the image processor of Gemma 3: a picture is resized to a tile, and with `do_pan_and_scan` so are crops of a long one.
 *
 * transformers' Gemma3Processor takes `do_pan_and_scan` from its caller alone and passes over that of the file, which here says it.
 * @throws Error naming the file and the field for values that are missing, unsound, or ask for what is not supported
 * @source transformers 5.23, Gemma3ImageProcessor: the torchvision one, which is its default */
export async function loadGemma3Processor(dir: string): Promise<(image: RgbImage) => Tiles> {
  const fields = await processorFields(dir, 'image_processor')
  fields.only('do_resize', true)
  fields.only('resample', 2) // bilinear
  const size = fields.within('size')
  const [height, width] = [size.count('height', 224), size.count('width', 224)]
  const values = pixelValues(fields, HALF_PIXELS)
  const scan: PanAndScan | null = fields.flag('do_pan_and_scan', false)
    ? {
        min_crop_size: fields.count('pan_and_scan_min_crop_size', 256),
        max_num_crops: fields.count('pan_and_scan_max_num_crops', 4),
        min_ratio_to_activate: fields.number('pan_and_scan_min_ratio_to_activate', 1.2),
      }
    : null
  return image => {
    const pictures = scan ? [image, ...panAndScan(image, scan)] : [image]
    const tiles = pictures.map(p => channelsFirst(resize(p, width, height, 'bilinear', 'torchvision'), values))
    return { patches: joined(tiles), tiles: tiles.length }
  }
}

/** Crops of a picture whose one side is longer than the other, along that side; none, if they would be too small. */
export function panAndScan(image: RgbImage, scan: PanAndScan): RgbImage[] {
  const [long, short] = [Math.max(image.width, image.height), Math.min(image.width, image.height)]
  if (long / short < scan.min_ratio_to_activate) return []
  const wanted = Math.min(Math.floor(long / scan.min_crop_size), Math.floor(long / short + 0.5))
  const count = Math.min(scan.max_num_crops, Math.max(2, wanted))
  const step = Math.ceil(long / count)
  if (Math.min(step, short) < scan.min_crop_size) return []
  return Array.from({ length: count }, (_, i) => {
    const [from, size] = [i * step, Math.min(step, long - i * step)]
    return image.width >= image.height
      ? cropped(image, from, 0, size, image.height)
      : cropped(image, 0, from, image.width, size)
  })
}
