import { join } from 'node:path'
import { cropped, squared } from './canvas.js'
import type { RgbImage } from './images.js'
import { Fields, readFields } from './json.js'
import { channelsFirst, CLIP_PIXELS, HALF_PIXELS, pixelScale, pixelValues } from './pixelValues.js'
import { resize, type Filter, type FixedPoint } from './resize.js'

/** Prepares pictures for a model as its preprocessor_config.json says. */
export interface ImageProcessor {
  /** Size of what comes out. */
  width: number
  height: number
  /** @returns `pixel_values` [3, height, width] */
  (image: RgbImage): Float32Array
}

/** Reads the preprocessor_config.json of a CLIPImageProcessor.
 * @throws as {@link imageProcessor}
 * @source transformers 5.23, CLIPImageProcessorPil, whose values these are; the torchvision processor resizes slightly otherwise */
export const loadImageProcessor = async (dir: string): Promise<ImageProcessor> =>
  imageProcessor(await readFields(join(dir, 'preprocessor_config.json')), 'pillow')

/** Reads the fields of a CLIPImageProcessor (the shortest side is resized, the middle cropped), of a LlavaImageProcessor (the same, the picture
 * first padded to a square where they say so), or of a SiglipImageProcessor (resized to a size); values are normalised by mean and deviation.
 * @param fixed whose resizing: that of transformers' processors with Pillow, or of those with torchvision, its default
 * @throws Error naming the file and the field for values that are missing, unsound, or ask for what is not supported
 * @source transformers 5.23, image_processing_backends.py; models/llava/image_processing_llava.py */
export function imageProcessor(fields: Fields, fixed: FixedPoint): ImageProcessor {
  const type = fields.text('image_processor_type', 'CLIPImageProcessor')
  const exact = typeof fields.get('size') === 'object' && fields.within('size').has('height')
  fields.only('do_resize', true)
  fields.only('do_center_crop', !exact)
  if (!type.startsWith('Llava')) fields.only('do_pad', false)
  const [height, width] = [sizeOf(fields, exact ? 'size' : 'crop_size', 'height'), sizeOf(fields, exact ? 'size' : 'crop_size', 'width')] // prettier-ignore
  const short = exact ? null : sizeOf(fields, 'size', 'shortest_edge')
  if (short !== null && Math.max(height, width) > short) fields.fail('crop_size', `at most the shortest side, ${short}`)
  const filter = FILTERS[(fields.get('resample') as number | undefined) ?? 3]
  if (!filter) fields.fail('resample', 'one of 1 (lanczos), 2 (bilinear), 3 (bicubic)')
  const usual = type.startsWith('Siglip') ? HALF_PIXELS : CLIP_PIXELS
  const values = pixelValues(fields, usual)
  const background = fields.flag('do_pad', false) && pixelScale(fields, usual).mean.map(x => Math.trunc(x * 255))

  const process = (given: RgbImage): Float32Array => {
    const image = background ? squared(given, background) : given
    if (short === null) return channelsFirst(resize(image, width, height, filter, fixed), values)
    const long = Math.trunc((short * Math.max(image.width, image.height)) / Math.min(image.width, image.height))
    const [w, h] = image.width <= image.height ? [short, long] : [long, short]
    const [left, top] = [Math.floor((w - width) / 2), Math.floor((h - height) / 2)]
    return channelsFirst(cropped(resize(image, w, h, filter, fixed), left, top, width, height), values)
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
