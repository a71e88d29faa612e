import { open } from 'node:fs/promises'
import * as tf from '@tensorflow/tfjs-core'
import { requireFile } from './requireFile.js'
import { writeWhole } from './writeWhole.js'

/** A picture in memory: what image rewards, policies and data sets hand to one another. */
export interface RgbImage {
  readonly width: number
  readonly height: number
  /** Red, green and blue of each pixel, row by row from the top: height × width × 3 values of 0 … 255. */
  readonly data: Uint8ClampedArray
}

/** Whether a value of a data set's column is a picture. */
export function isRgbImage(value: unknown): value is RgbImage {
  return typeof value === 'object' && value !== null && 'data' in value && value.data instanceof Uint8ClampedArray
}

/** Decodes PNG, JPEG, WebP, GIF (its first frame), TIFF or AVIF to 8 bits a channel: turned upright as its EXIF data say,
 * colours brought to sRGB by its profile (CMYK without one by a common press profile), transparency laid onto white, of 16 bits the upper 8.
 * @param input path of the file, or its bytes
 * @param options.maxPixels refuses larger pictures before they are decoded. Default 100 million
 * @throws Error naming the file, if it is missing, empty, truncated, damaged, not a picture, or too large */
export async function readImage(
  input: string | Uint8Array,
  { maxPixels = 100e6 }: { maxPixels?: number } = {},
): Promise<RgbImage> {
  const where = `readImage: ${typeof input === 'string' ? input : `${input.length} bytes`}`
  await checkInput(input, where)
  const broken = (error: Error): never => {
    const reason = error.message.split('\n', 1)[0]
    throw new Error(`${where}: ${reason}. Needed a whole PNG, JPEG, WebP, GIF, TIFF or AVIF.`, { cause: error })
  }
  const sharp = await loadSharp()
  const options = { failOn: 'error', limitInputPixels: false } as const // libvips would fill what a truncated file lacks with grey
  const { width, height } = await sharp(input, options).metadata().catch(broken)
  if (width * height > maxPixels)
    throw new Error(
      `${where}: ${width} × ${height} pixels, needed at most ${maxPixels}. Make it smaller, or raise maxPixels.`,
    )
  const upright = sharp(input, options).autoOrient().flatten({ background: 'white' }).toColourspace('srgb')
  const { data, info } = await upright.raw().toBuffer({ resolveWithObject: true }).catch(broken)
  return { width: info.width, height: info.height, data: new Uint8ClampedArray(data) }
}

/** The picture as a PNG file's bytes. */
export async function encodePng(image: RgbImage): Promise<Buffer> {
  checkImage(image, 'encodePng')
  const { width, height, data } = image
  const sharp = await loadSharp()
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer()
}

/** Writes a PNG file, beside its place and moved there, so that no reader sees half of it; makes its folder. */
export async function writePng(path: string, image: RgbImage): Promise<void> {
  await writeWhole(path, await encodePng(image))
}

/** Pictures of one size as a tensor.
 * @returns [B, H, W, 3] float32 in 0 … 1
 * @throws Error naming a picture of another size than the first's, or whose data do not fill its size */
export function imagesToTensor(images: readonly RgbImage[]): tf.Tensor4D {
  const [first] = images
  if (!first) throw new Error('imagesToTensor: got no picture, needed at least one.')
  const { width, height } = first
  const size = height * width * 3
  const values = new Float32Array(images.length * size)
  images.forEach((image, row) => {
    checkImage(image, `imagesToTensor: picture ${row}`)
    if (image.width !== width || image.height !== height)
      throw new Error(
        `imagesToTensor: picture ${row} is ${image.width} × ${image.height}, the first ${width} × ${height}. Resize them to one size.`,
      )
    for (let i = 0; i < size; i++) values[row * size + i] = image.data[i]! / 255
  })
  return tf.tensor4d(values, [images.length, height, width, 3])
}

/** A tensor's rows as pictures, rounded as diffusers rounds (halves to even); values beyond 0 … 1 are clipped.
 * @param tensor [B, H, W, 3], 0 … 1 */
export async function tensorToImages(tensor: tf.Tensor): Promise<RgbImage[]> {
  const [rows, height, width, channels] = tensor.shape as [number, number, number, number]
  if (tensor.rank !== 4 || channels !== 3)
    throw new Error(`tensorToImages: got [${tensor.shape.join(', ')}], needed [images, height, width, 3].`)
  const values = await tensor.data()
  const size = height * width * 3
  return Array.from({ length: rows }, (_, row) => {
    const data = new Uint8ClampedArray(size) // clips, and rounds halves to even
    for (let i = 0; i < size; i++) data[i] = Math.fround(values[row * size + i]! * 255)
    return { width, height, data }
  })
}

/** @throws Error if the data do not fill the size */
export function checkImage({ width, height, data }: RgbImage, where: string): void {
  if (data.length !== width * height * 3 || data.length === 0)
    throw new Error(
      `${where}: ${data.length} values for ${width} × ${height} pixels, needed ${width * height * 3} (three a pixel, at least one pixel).`,
    )
}

/** At first use: what handles no pictures needs no native library. */
const loadSharp = async () => (await import('sharp')).default

async function checkInput(input: string | Uint8Array, where: string): Promise<void> {
  const fail = (found: string, advice = 'Needed a picture. Check the path.'): never => {
    throw new Error(`${where}: ${found}. ${advice}`)
  }
  if (typeof input === 'string') requireFile(input)
  const start =
    typeof input !== 'string'
      ? Buffer.from(input.subarray(0, 12))
      : await firstBytes(input).catch((error: NodeJS.ErrnoException) =>
          fail(error.code === 'ENOENT' ? 'there is no such file' : error.message),
        )
  if (start.length === 0) fail('empty')
  if (!START.test(start.toString('latin1'))) fail('another kind of file', 'Needed PNG, JPEG, WebP, GIF, TIFF or AVIF.')
}

/** How pictures begin that are read. The decoder knows more kinds, of which SVG reads other files. */
const START = /^(\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|II[*+]\0|MM\0[*+]|....ftyp(avi[fs]|mif1|msf1))/s

async function firstBytes(path: string): Promise<Buffer> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(12), 0, 12, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}
