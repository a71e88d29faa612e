import type { RgbImage } from '../io/images.js'

export type Rgb = readonly [red: number, green: number, blue: number]

/** Colours that questions and answers name. */
export const PALETTE = { red: [215, 50, 45], green: [50, 160, 70], blue: [45, 90, 210], yellow: [225, 185, 40] } satisfies Record<string, Rgb> // prettier-ignore

/** A picture of one colour. */
export function plain(width: number, height: number, colour: Rgb): RgbImage {
  const data = new Uint8ClampedArray(width * height * 3)
  for (let i = 0; i < data.length; i++) data[i] = colour[i % 3]!
  return { width, height, data }
}

/** A figure by what it covers, within a square box around a point. Lengths are in pixels from the top left. */
export interface Figure {
  /** Whether a point is covered, in halves of the box from its middle: −1 … 1. */
  covers: (u: number, v: number) => boolean
  x: number
  y: number
  /** Half the side of the box. */
  half: number
}

const SAMPLES = 3 // a side of a pixel, for smooth edges

/** Lays a figure onto a picture, its edges smooth; what lies outside is left out.
 * @param opacity 1 hides what was there */
export function paint(image: RgbImage, { covers, x, y, half }: Figure, colour: Rgb, opacity = 1): void {
  const { width, height, data } = image
  const range = (middle: number, end: number) => [Math.max(0, Math.floor(middle - half)), Math.min(end, Math.ceil(middle + half))] as const // prettier-ignore
  const [[left, right], [top, bottom]] = [range(x, width), range(y, height)]
  for (let row = top; row < bottom; row++)
    for (let column = left; column < right; column++) {
      let inside = 0
      for (let i = 0; i < SAMPLES * SAMPLES; i++) {
        const u = (column + ((i % SAMPLES) + 0.5) / SAMPLES - x) / half
        const v = (row + (Math.floor(i / SAMPLES) + 0.5) / SAMPLES - y) / half
        if (Math.max(Math.abs(u), Math.abs(v)) <= 1 && covers(u, v)) inside++
      }
      const share = (opacity * inside) / (SAMPLES * SAMPLES)
      const at = 3 * (row * width + column)
      for (let c = 0; c < 3; c++) data[at + c] = data[at + c]! + (colour[c]! - data[at + c]!) * share
    }
}

export const FIGURES = {
  circle: (u: number, v: number): boolean => u * u + v * v < 1,
  square: (u: number, v: number): boolean => Math.max(Math.abs(u), Math.abs(v)) < 0.9,
  triangle: (u: number, v: number): boolean => Math.abs(u) < (v + 1) / 2,
  ring: (u: number, v: number): boolean => Math.abs(Math.hypot(u, v) - 0.75) < 0.25,
  cross: (u: number, v: number): boolean => Math.min(Math.abs(u), Math.abs(v)) < 0.28,
  star: (u: number, v: number): boolean => {
    const turn = (Math.atan2(u, -v) / (2 * Math.PI) + 1) * 5
    return Math.hypot(u, v) < 0.42 + 0.58 * Math.abs(1 - 2 * (turn - Math.floor(turn))) ** 1.5
  },
} as const
