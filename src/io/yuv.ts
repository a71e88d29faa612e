import type { RgbImage } from './images.js'

/** Planes of a frame as a decoder leaves them. */
export interface YuvFrame {
  width: number
  height: number
  data: Uint8Array
  /** Of luma and of both chromas: where they begin in the data, in bytes, and how many bytes a row has. */
  planes: readonly { offset: number; stride: number }[]
  /** A sample of chroma stands for 1 or 2 columns, and 1 or 2 rows. */
  chroma: readonly [columns: 1 | 2, rows: 1 | 2]
  /** Bits of a sample; above 8 each takes two bytes, the lower first. */
  bits: number
  /** Name in WebCodecs; others, and null, count as BT.601's, as FFmpeg takes untold ones. */
  matrix: string | null
  /** Luma is 0 … 255, not 16 … 235. */
  fullRange: boolean
}

/** What V adds to red and U to blue, and what U and V take from green, of limited range, in 65,536ths. */
const MATRICES: Readonly<Record<string, readonly [vr: number, ub: number, ug: number, vg: number]>> = {
  bt601: [104597, 132201, 25675, 53279],
  bt709: [117489, 138438, 13975, 34925],
  'bt2020-ncl': [110013, 140363, 12277, 42626],
}

/** A frame as RGB. With 8 bits and chroma of every other row and column the bytes are FFmpeg's; others are cut to 8 bits and lie within rounding.
 * Chroma is repeated, not interpolated.
 * @source FFmpeg 8, libswscale/yuv2rgb.c (ff_yuv2rgb_c_init_tables) and x86/yuv_2_rgb.asm: fixed-point arithmetic in 16 bits */
export function yuvToRgb({ width, height, data, planes, chroma, bits, matrix, fullRange }: YuvFrame): RgbImage {
  const to16 = (factor: number) => Math.floor((factor + 4) / 8) // 65,536ths × 2¹³, rounded, its upper half
  const ofRange = (factor: number) => to16(fullRange ? Math.trunc((factor * 224) / 255) : factor)
  const [vr, ub, ug, vg] = (MATRICES[matrix ?? 'bt601'] ?? MATRICES['bt601']!).map(ofRange) as [number, number, number, number] // prettier-ignore
  const [gain, black] = fullRange ? [to16(65536), 0] : [to16(Math.trunc((65536 * 255) / 219)), 16 << 3]
  const product =
    bits === 8 && chroma[0] === 2 ? (a: number, b: number) => (a * b) >> 16 : (a: number, b: number) => (a * b) / 65536 // pmulhw, or exact
  const wide = bits > 8 ? 1 : 0
  const [luma, u, v] = planes as [(typeof planes)[number], (typeof planes)[number], (typeof planes)[number]]
  const sample = (plane: { offset: number; stride: number }, x: number, y: number): number => {
    const at = plane.offset + y * plane.stride + (x << wide)
    return wide ? (data[at]! | (data[at + 1]! << 8)) / 2 ** (bits - 8) : data[at]!
  }
  const rgb = new Uint8ClampedArray(width * height * 3)
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++, to += 3) {
      const [column, row] = [x >> (chroma[0] - 1), y >> (chroma[1] - 1)]
      const light = product(sample(luma, x, y) * 8 - black, gain)
      const [blue, red] = [sample(u, column, row) * 8 - 1024, sample(v, column, row) * 8 - 1024]
      rgb[to] = light + product(red, vr)
      rgb[to + 1] = light + product(blue, -ug) + product(red, -vg)
      rgb[to + 2] = light + product(blue, ub)
    }
  return { width, height, data: rgb }
}
