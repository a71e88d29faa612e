import type { RgbImage } from '../../src/io/images.js'

/** A picture that test/fixtures/generate/qwen25vl.py computes, too. */
export function picture(n: number, height: number, width: number): RgbImage {
  const data = new Uint8ClampedArray(height * width * 3)
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) data[i++] = (7 * x + 13 * y + 3 * x * y + 50 * c + 31 * n) % 256
  return { width, height, data }
}
