export type Rgb = readonly [red: number, green: number, blue: number]
export type Lab = readonly [L: number, a: number, b: number]

type Matrix = readonly [Rgb, Rgb, Rgb]

/** What is left of linear RGB in the eyes of the colour-blind, at full severity.
 * @source Machado, Oliveira & Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009 */
export const blindness = {
  normal: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
} satisfies Record<string, Matrix> // prettier-ignore

const times = (matrix: Matrix, [x, y, z]: Rgb): Rgb =>
  matrix.map(([a, b, c]) => a * x + b * y + c * z) as unknown as Rgb

export function simulated(color: Rgb, sight: keyof typeof blindness): Rgb {
  return times(blindness[sight], color).map(x => Math.min(1, Math.max(0, x))) as unknown as Rgb
}

/** `#RRGGBB` → linear RGB in [0, 1] (IEC 61966-2-1). */
export function linear(hex: string): Rgb {
  return [1, 3, 5].map(i => {
    const x = parseInt(hex.slice(i, i + 2), 16) / 255
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4
  }) as unknown as Rgb
}

const toXyz: Matrix = [
  [0.4124564, 0.3575761, 0.1804375],
  [0.2126729, 0.7151522, 0.072175],
  [0.0193339, 0.119192, 0.9503041],
]
const white = [0.95047, 1, 1.08883]

/** Relative luminance. */
export const lightness = (color: Rgb): number => times(toXyz, color)[1]

/** Linear RGB → CIE L*a*b*, white D65. */
export function lab(color: Rgb): Lab {
  const [x, y, z] = times(toXyz, color).map((value, i) => {
    const t = value / white[i]!
    return t > 216 / 24389 ? Math.cbrt(t) : ((24389 / 27) * t + 16) / 116
  }) as [number, number, number]
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)]
}

/** The colour difference CIEDE2000: about 1 can just be seen side by side.
 * @source Sharma, Wu & Dalal, The CIEDE2000 Color-Difference Formula, 2005 */
export function ciede2000([L1, a1, b1]: Lab, [L2, a2, b2]: Lab): number {
  const bent = (chroma: number) => Math.sqrt(chroma ** 7 / (chroma ** 7 + 25 ** 7))
  const g = 0.5 * (1 - bent((Math.hypot(a1, b1) + Math.hypot(a2, b2)) / 2))
  const [c1, h1] = polar(a1 * (1 + g), b1)
  const [c2, h2] = polar(a2 * (1 + g), b2)
  const gray = c1 * c2 === 0
  const turn = gray ? 0 : ((h2 - h1 + 540) % 360) - 180
  const dH = 2 * Math.sqrt(c1 * c2) * sin(turn / 2)
  const L = (L1 + L2) / 2
  const c = (c1 + c2) / 2
  const h = gray ? h1 + h2 : h1 + turn / 2
  const t = 1 - 0.17 * cos(h - 30) + 0.24 * cos(2 * h) + 0.32 * cos(3 * h + 6) - 0.2 * cos(4 * h - 63)
  const sL = 1 + (0.015 * (L - 50) ** 2) / Math.sqrt(20 + (L - 50) ** 2)
  const sC = 1 + 0.045 * c
  const sH = 1 + 0.015 * c * t
  const from275 = ((((h % 360) + 360) % 360) - 275) / 25
  const rotation = -sin(60 * Math.exp(-(from275 ** 2))) * 2 * bent(c)
  const [l, k, m] = [(L2 - L1) / sL, (c2 - c1) / sC, dH / sH]
  return Math.sqrt(l * l + k * k + m * m + rotation * k * m)
}

const polar = (a: number, b: number): [chroma: number, hue: number] => [
  Math.hypot(a, b),
  ((Math.atan2(b, a) * 180) / Math.PI + 360) % 360,
]
const sin = (degrees: number) => Math.sin((degrees * Math.PI) / 180)
const cos = (degrees: number) => Math.cos((degrees * Math.PI) / 180)
