import { join } from 'node:path'
import type { RgbImage } from './images.js'
import { Fields, readJson } from './json.js'
import { CLIP_PIXELS, pixelScale } from './pixelValues.js'
import { resize, type Filter } from './resize.js'

/** Prepares pictures for a model as its preprocessor_config.json says. */
export interface ImageProcessor {
  /** Size of what comes out. */
  width: number
  height: number
  /** @returns `pixel_values` [3, height, width] */
  (image: RgbImage): Float32Array
}

/** Reads the preprocessor_config.json of a CLIPImageProcessor: the shortest side is resized, the middle cropped, values are
 * normalised by mean and deviation.
 * @throws Error naming the file and the field for values that are missing, unsound, or ask for what is not supported
 * @source transformers 5.23, CLIPImageProcessorPil, whose values these are; the torchvision processor resizes slightly otherwise */
export async function loadImageProcessor(dir: string): Promise<ImageProcessor> {
  const path = join(dir, 'preprocessor_config.json')
  const fields = new Fields(await readJson(path), path)
  for (const name of ['do_resize', 'do_center_crop', 'do_rescale', 'do_normalize']) fields.only(name, true)
  const short = sizeOf(fields, 'size', 'shortest_edge')
  const [height, width] = [sizeOf(fields, 'crop_size', 'height'), sizeOf(fields, 'crop_size', 'width')]
  if (Math.max(height, width) > short) fields.fail('crop_size', `at most the shortest side, ${short}`)
  const filter = FILTERS[(fields.get('resample') as number | undefined) ?? 3]
  if (!filter) fields.fail('resample', 'one of 1 (lanczos), 2 (bilinear), 3 (bicubic)')
  const factor = fields.number('rescale_factor', 1 / 255)
  const { mean, std } = pixelScale(fields, CLIP_PIXELS)

  const process = (image: RgbImage): Float32Array => {
    const long = Math.trunc((short * Math.max(image.width, image.height)) / Math.min(image.width, image.height))
    const resized =
      image.width <= image.height ? resize(image, short, long, filter) : resize(image, long, short, filter)
    const [left, top] = [Math.floor((resized.width - width) / 2), Math.floor((resized.height - height) / 2)]
    const out = new Float32Array(3 * height * width)
    for (let c = 0; c < 3; c++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          const value = resized.data[((top + y) * resized.width + left + x) * 3 + c]!
          out[(c * height + y) * width + x] = (value * factor - mean[c]!) / std[c]!
        }
    return out
  }
  return Object.assign(process, { width, height })
}

/** Pillow's numbers of its filters. */
const FILTERS: Readonly<Record<number, Filter>> = { 1: 'lanczos', 2: 'bilinear', 3: 'bicubic' }

/** A size in pixels: a number, as old files have it, or a part of an object. */
function sizeOf(fields: Fields, name: string, part: string): number {
  const value = fields.get(name) ?? 224
  const size: unknown = typeof value === 'object' ? (value as Record<string, unknown>)[part] : value
  if (typeof size === 'number' && Number.isInteger(size) && size > 0) return size
  return fields.fail(name, `a size in pixels, or { "${part}": … }`)
}
