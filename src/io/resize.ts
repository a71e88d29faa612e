import { checkImage, type RgbImage } from './images.js'

/** Interpolation kernels, under Pillow's names. */
export type Filter = keyof typeof FILTERS

/** Resizes a picture as Pillow does, bit for bit: rows first, then columns, the kernel widened where the picture shrinks (antialiasing),
 * weights in fixed point, 8 bits between the two passes.
 * @param filter default bicubic
 * @throws Error if a size is not an integer ≥ 1
 * @source Pillow 13, src/libImaging/Resample.c */
export function resize(image: RgbImage, width: number, height: number, filter: Filter = 'bicubic'): RgbImage {
  checkImage(image, 'resize')
  for (const [name, value] of Object.entries({ width, height }))
    if (!Number.isInteger(value) || value < 1) throw new Error(`resize: ${name} is ${value}, needed an integer ≥ 1.`)
  return columns(rows(image, width, filter), height, filter)
}

function rows(image: RgbImage, width: number, filter: Filter): RgbImage {
  const { height, data } = image
  if (width === image.width) return image
  const out = new Uint8ClampedArray(height * width * 3)
  const taps = tapsOf(image.width, width, filter)
  for (let y = 0; y < height; y++)
    for (const [x, { first, weights }] of taps.entries())
      for (let c = 0; c < 3; c++) {
        let sum = HALF
        for (let k = 0; k < weights.length; k++) sum += data[(y * image.width + first + k) * 3 + c]! * weights[k]!
        out[(y * width + x) * 3 + c] = sum >> BITS
      }
  return { width, height, data: out }
}

function columns(image: RgbImage, height: number, filter: Filter): RgbImage {
  const { width, data } = image
  if (height === image.height) return image
  const row = width * 3
  const out = new Uint8ClampedArray(height * row)
  for (const [y, { first, weights }] of tapsOf(image.height, height, filter).entries())
    for (let i = 0; i < row; i++) {
      let sum = HALF
      for (let k = 0; k < weights.length; k++) sum += data[(first + k) * row + i]! * weights[k]!
      out[y * row + i] = sum >> BITS
    }
  return { width, height, data: out }
}

/** What an output pixel is summed from: inputs from `first` on, weights in fixed point. */
interface Taps {
  first: number
  weights: Int32Array
}

const BITS = 22 // of a weight after the point: 32 − 8 of a pixel − 2 for sums beyond 0 … 255
const HALF = 1 << (BITS - 1)

function tapsOf(from: number, to: number, filter: Filter): Taps[] {
  const { support, kernel } = FILTERS[filter]
  const scale = from / to
  const widened = Math.max(scale, 1)
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale
    const first = Math.max(0, Math.trunc(center - support * widened + 0.5))
    const end = Math.min(from, Math.trunc(center + support * widened + 0.5))
    const weights = Array.from({ length: end - first }, (_, k) => kernel((k + first - center + 0.5) * (1 / widened)))
    const total = weights.reduce((sum, w) => sum + w, 0)
    const fixed = weights.map(w => (w / total) * 2 ** BITS)
    return { first, weights: Int32Array.from(fixed, w => Math.trunc(w < 0 ? w - 0.5 : w + 0.5)) }
  })
}

const FILTERS = {
  bilinear: { support: 1, kernel: (x: number) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, kernel: (x: number) => bicubic(Math.abs(x)) },
  lanczos: { support: 3, kernel: (x: number) => (-3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
}

function bicubic(x: number): number {
  const a = -0.5
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI))
