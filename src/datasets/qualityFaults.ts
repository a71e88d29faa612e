import { checkImage, type RgbImage } from '../io/images.js'
import type { Rng } from './rng.js'

/** Kinds of faults that {@link addFault} grades. */
export const QUALITY_FAULTS = ['blur', 'noise', 'blocking', 'banding', 'ringing', 'exposure', 'colour'] as const
export type QualityFault = (typeof QUALITY_FAULTS)[number]

/** A picture with a fault of a strength from 0 (none: the picture itself) to 1.
 *
 * | fault    | what it does, of values in 0 … 1                                                    |
 * | -------- | ----------------------------------------------------------------------------------- |
 * | blur     | a Gaussian of σ = 2.5 s^0.7 pixels                                                   |
 * | noise    | adds independent Gaussian noise of σ = 0.25 s                                       |
 * | blocking | rounds 8 × 8 DCT coefficients to multiples of 20 s^1.5 times JPEG's luminance table |
 * | banding  | rounds to multiples of s / 4                                                        |
 * | ringing  | cuts off frequencies above 0.2^s of the highest, sharply: edges oscillate           |
 * | exposure | multiplies by 2^(±3 s), the sign drawn, and clips                                 |
 * | colour   | multiplies channels by 2^(1.6 s cos(θ + k·120°)), the angle θ drawn, and clips        |
 *
 * @throws Error if the strength is not in 0 … 1 */
export function addFault(image: RgbImage, fault: QualityFault, strength: number, random: Rng): RgbImage {
  checkImage(image, 'addFault')
  if (!(strength >= 0 && strength <= 1))
    throw new Error(`addFault: strength is ${strength}, needed a number from 0 to 1.`)
  if (strength === 0) return image
  const values = Float64Array.from(image.data, x => x / 255)
  const faulty = apply[fault]({ ...image, values }, strength, random)
  return { ...image, data: Uint8ClampedArray.from(faulty, x => x * 255) }
}

/** A picture's values in 0 … 1, red, green and blue of each pixel. */
interface Plane {
  width: number
  height: number
  values: Float64Array
}

const apply: Record<QualityFault, (image: Plane, s: number, random: Rng) => Float64Array> = {
  blur: (image, s) => filtered(image, gaussian(2.5 * s ** 0.7)),
  noise: ({ values }, s, random) => values.map(x => x + 0.25 * s * normal(random)),
  blocking: (image, s) => quantizedBlocks(image, (20 * s ** 1.5) / 255),
  banding: ({ values }, s) => values.map(x => (Math.round(x / (s / 4)) * s) / 4),
  ringing: (image, s) => filtered(image, lowPass(0.2 ** s)),
  exposure: ({ values }, s, random) => {
    const gain = 2 ** (random.pick([-3, 3]) * s)
    return values.map(x => x * gain)
  },
  colour: ({ values }, s, random) => {
    const angle = 2 * Math.PI * random.uniform()
    const gains = [0, 1, 2].map(k => 2 ** (1.6 * s * Math.cos(angle + (k * 2 * Math.PI) / 3)))
    return values.map((x, i) => x * gains[i % 3]!)
  },
}

/** Both axes filtered with a symmetric kernel (its middle first); beyond the border the nearest pixel stands. */
function filtered({ width, height, values }: Plane, kernel: readonly number[]): Float64Array {
  const along = (from: Float64Array, length: number, stride: number): Float64Array =>
    from.map((x, i) => {
      const place = Math.floor(i / stride) % length
      let sum = x * kernel[0]!
      for (let k = 1; k < kernel.length; k++)
        sum +=
          kernel[k]! * (from[i - Math.min(k, place) * stride]! + from[i + Math.min(k, length - 1 - place) * stride]!)
      return sum
    })
  return along(along(values, width, 3), height, width * 3)
}

function gaussian(sigma: number): number[] {
  return unitSum(Array.from({ length: Math.ceil(3 * sigma) + 1 }, (_, k) => Math.exp(-((k / sigma) ** 2) / 2)))
}

/** The ideal low-pass up to `cutoff` of the highest frequency, cut after 12 pixels. */
function lowPass(cutoff: number): number[] {
  const sinc = (x: number) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x))
  return unitSum(Array.from({ length: 13 }, (_, k) => sinc(cutoff * k)))
}

function unitSum(half: number[]): number[] {
  const sum = half.reduce((total, w, k) => total + (k === 0 ? w : 2 * w), 0)
  return half.map(w => w / sum)
}

/** The orthonormal DCT-II of 8 values: row u holds frequency u. */
const DCT = Array.from({ length: 8 }, (_, u) =>
  Array.from({ length: 8 }, (_, x) => Math.sqrt(u === 0 ? 1 / 8 : 1 / 4) * Math.cos(((2 * x + 1) * u * Math.PI) / 16)),
)

const INVERSE_DCT = DCT.map((_, x) => DCT.map(row => row[x]!))

/** Luminance quantisation, row by row of vertical frequency.
 * @source ITU-T T.81 (JPEG), table K.1 */
// prettier-ignore
const JPEG_TABLE = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
  18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
]

/** Blocks from the upper left corner on, those at the border filled up with its nearest pixels. */
function quantizedBlocks({ width, height, values }: Plane, scale: number): Float64Array {
  const out = new Float64Array(values.length)
  const block = new Float64Array(64)
  const at = (x: number, y: number, c: number) => (Math.min(y, height - 1) * width + Math.min(x, width - 1)) * 3 + c
  for (let c = 0; c < 3; c++)
    for (let top = 0; top < height; top += 8)
      for (let left = 0; left < width; left += 8) {
        for (let i = 0; i < 64; i++) block[i] = values[at(left + (i % 8), top + (i >> 3), c)]! - 0.5
        const coefficients = bothAxes(block, DCT)
        for (let i = 0; i < 64; i++) {
          const step = JPEG_TABLE[i]! * scale
          coefficients[i] = Math.round(coefficients[i]! / step) * step
        }
        const back = bothAxes(coefficients, INVERSE_DCT)
        for (let y = top; y < Math.min(top + 8, height); y++)
          for (let x = left; x < Math.min(left + 8, width); x++)
            out[at(x, y, c)] = back[(y - top) * 8 + x - left]! + 0.5
      }
  return out
}

/** M · B · Mᵀ of an 8 × 8 block. */
const bothAxes = (block: Float64Array, matrix: readonly number[][]): Float64Array =>
  rowsTimes(rowsTimes(block, matrix), matrix)

/** (B · Mᵀ)ᵀ */
function rowsTimes(block: Float64Array, matrix: readonly number[][]): Float64Array {
  const out = new Float64Array(64)
  for (let row = 0; row < 8; row++)
    for (let u = 0; u < 8; u++) {
      let sum = 0
      for (let x = 0; x < 8; x++) sum += matrix[u]![x]! * block[row * 8 + x]!
      out[u * 8 + row] = sum
    }
  return out
}

/** A normally distributed number (Box–Muller). */
function normal(random: Rng): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform())
}
