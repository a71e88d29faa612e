import type { RgbImage } from './images.js'
import type { Fields } from './json.js'

/** Mean and deviation by which channels are normalised. */
export interface PixelScale {
  mean: readonly number[]
  std: readonly number[]
}

/** OpenAI's CLIP. */
export const CLIP_PIXELS: PixelScale = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
}

/** Values from −1 to 1. */
export const HALF_PIXELS: PixelScale = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] }

/** @param usual where the fields are left out
 * @throws Error naming file and field for what is not three numbers */
export function pixelScale(fields: Fields, usual: PixelScale): PixelScale {
  const three = (name: string, usual: readonly number[]): number[] => {
    const value = fields.get(name) ?? usual
    return Array.isArray(value) && value.length === 3 && value.every(x => typeof x === 'number')
      ? value
      : fields.fail(name, 'three numbers')
  }
  return { mean: three('image_mean', usual.mean), std: three('image_std', usual.std) }
}

/** Of each channel what each of the 256 values of a byte becomes, computed in float32 as transformers' torchvision processors do.
 * @param usual what a processor takes where its fields are left out
 * @throws Error naming file and field for values that are unsound or ask for what is not supported */
export function pixelValues(fields: Fields, usual: PixelScale): Float32Array[] {
  for (const name of ['do_rescale', 'do_normalize']) fields.only(name, true)
  const { mean, std } = pixelScale(fields, usual)
  const factor = 1 / fields.number('rescale_factor', 1 / 255)
  const scaled = (x: number) => Math.fround(Math.fround(x) * factor)
  return mean.map((m, c) => Float32Array.from({ length: 256 }, (_, v) => Math.fround(v - scaled(m)) / scaled(std[c]!)))
}

/** A picture as a tower takes it.
 * @returns [3, height, width] */
export function channelsFirst({ data }: RgbImage, values: readonly Float32Array[]): Float32Array {
  const pixels = data.length / 3
  const out = new Float32Array(data.length)
  for (let c = 0; c < 3; c++) for (let i = 0; i < pixels; i++) out[c * pixels + i] = values[c]![data[3 * i + c]!]!
  return out
}

/** Arrays behind one another. */
export function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
