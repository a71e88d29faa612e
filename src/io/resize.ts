import { checkImage, type RgbImage } from './images.js'

/** Interpolation kernels, under Pillow's names. */
export type Filter = keyof typeof FILTERS

/** Whose fixed point the weights of pixels have; the two differ by a grey level here and there. */
export type FixedPoint = 'pillow' | 'torchvision'

/** Resizes a picture as Pillow does, bit for bit: rows first, then columns, the kernel widened where the picture shrinks (antialiasing),
 * weights in fixed point, 8 bits between the two passes.
 * @param filter default bicubic
 * @param fixed `torchvision`: as its resize of bytes on a CPU. Default pillow
 * @throws Error if a size is not an integer ≥ 1
 * @source Pillow 13, src/libImaging/Resample.c; PyTorch 2.15, aten/src/ATen/native/cpu/UpSampleKernel.cpp */
export function resize(
  image: RgbImage,
  width: number,
  height: number,
  filter: Filter = 'bicubic',
  fixed: FixedPoint = 'pillow',
): RgbImage {
  checkImage(image, 'resize')
  for (const [name, value] of Object.entries({ width, height }))
    if (!Number.isInteger(value) || value < 1) throw new Error(`resize: ${name} is ${value}, needed an integer ≥ 1.`)
  return columns(rows(image, width, filter, fixed), height, filter, fixed)
}

function rows(image: RgbImage, width: number, filter: Filter, fixed: FixedPoint): RgbImage {
  const { height, data } = image
  if (width === image.width) return image
  const out = new Uint8ClampedArray(height * width * 3)
  const { taps, bits } = tapsOf(image.width, width, filter, fixed)
  for (let y = 0; y < height; y++)
    for (const [x, { first, weights }] of taps.entries())
      for (let c = 0; c < 3; c++) {
        let sum = 1 << (bits - 1)
        for (let k = 0; k < weights.length; k++) sum += data[(y * image.width + first + k) * 3 + c]! * weights[k]!
        out[(y * width + x) * 3 + c] = sum >> bits
      }
  return { width, height, data: out }
}

function columns(image: RgbImage, height: number, filter: Filter, fixed: FixedPoint): RgbImage {
  const { width, data } = image
  if (height === image.height) return image
  const row = width * 3
  const out = new Uint8ClampedArray(height * row)
  const { taps, bits } = tapsOf(image.height, height, filter, fixed)
  for (const [y, { first, weights }] of taps.entries())
    for (let i = 0; i < row; i++) {
      let sum = 1 << (bits - 1)
      for (let k = 0; k < weights.length; k++) sum += data[(first + k) * row + i]! * weights[k]!
      out[y * row + i] = sum >> bits
    }
  return { width, height, data: out }
}

/** What an output pixel is summed from: inputs from `first` on, weights in fixed point. */
interface Taps {
  first: number
  weights: Int32Array
}

const BITS = 22 // of a weight after the point: 32 − 8 of a pixel − 2 for sums beyond 0 … 255

/** The same for torchvision, whose weights have 16 bits: as many as keep the largest of them below 2¹⁵. */
function shortBits(largest: number): number {
  let bits = 0
  while (bits < BITS && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 2 ** 15) bits++
  return bits
}

function tapsOf(from: number, to: number, filter: Filter, fixed: FixedPoint): { taps: Taps[]; bits: number } {
  const { support, kernel } = FILTERS[filter]
  const scale = from / to
  const widened = Math.max(scale, 1)
  const exact = Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale
    const first = Math.max(0, Math.trunc(center - support * widened + 0.5))
    const end = Math.min(from, Math.trunc(center + support * widened + 0.5))
    const weights = Array.from({ length: end - first }, (_, k) => kernel((k + first - center + 0.5) * (1 / widened)))
    const total = weights.reduce((sum, w) => sum + w, 0)
    return { first, weights: weights.map(w => w / total) }
  })
  const bits = fixed === 'pillow' ? BITS : shortBits(Math.max(...exact.map(({ weights }) => Math.max(...weights))))
  const whole = (w: number) => Math.trunc(w * 2 ** bits + (w < 0 ? -0.5 : 0.5))
  return { bits, taps: exact.map(({ first, weights }) => ({ first, weights: Int32Array.from(weights, whole) })) }
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
