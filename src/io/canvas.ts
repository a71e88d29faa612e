import type { RgbImage } from './images.js'

/** A part of a picture. */
export function cropped({ width, data }: RgbImage, left: number, top: number, w: number, h: number): RgbImage {
  const out = new Uint8ClampedArray(w * h * 3)
  for (let y = 0; y < h; y++) {
    const from = ((top + y) * width + left) * 3
    out.set(data.subarray(from, from + w * 3), y * w * 3)
  }
  return { width: w, height: h, data: out }
}

/** A picture in the middle of a larger one of a colour; where what is around it is odd, the pixel more is at its right or bottom.
 * @param colour red, green and blue, 0 … 255 */
export function framed({ width, height, data }: RgbImage, w: number, h: number, colour: readonly number[]): RgbImage {
  const out = new Uint8ClampedArray(w * h * 3).map((_, i) => colour[i % 3]!)
  const [left, top] = [Math.floor((w - width) / 2), Math.floor((h - height) / 2)]
  for (let y = 0; y < height; y++)
    out.set(data.subarray(y * width * 3, (y + 1) * width * 3), ((top + y) * w + left) * 3)
  return { width: w, height: h, data: out }
}

/** A picture in a square of a colour whose side is its longer one. */
export function squared(image: RgbImage, colour: readonly number[]): RgbImage {
  const side = Math.max(image.width, image.height)
  return framed(image, side, side, colour)
}
