import { checkImage, type RgbImage } from './images.js'
import { writeWhole } from './writeWhole.js'

/** Writes frames as an animated GIF, which `readVideo` reads; makes its folder. A frame keeps up to 256 colours.
 * @param frames one size all, at least two
 * @param fps frames a second; each stays for a whole number of hundredths of a second
 * @throws Error naming a frame of another size than the first's */
export async function writeAnimation(path: string, frames: readonly RgbImage[], fps: number): Promise<void> {
  const [first] = frames
  if (!first || frames.length < 2) throw new Error(`writeAnimation: got ${frames.length} frames, needed at least two.`)
  const { width, height } = first
  frames.forEach((frame, i) => {
    checkImage(frame, `writeAnimation: frame ${i}`)
    if (frame.width !== width || frame.height !== height)
      throw new Error(`writeAnimation: frame ${i} is ${frame.width} × ${frame.height}, the first ${width} × ${height}. Resize them to one size.`) // prettier-ignore
  })
  const { default: sharp } = await import('sharp')
  const raw = { width, height: height * frames.length, channels: 3, pageHeight: height } as const
  const bytes = await sharp(Buffer.concat(frames.map(({ data }) => Buffer.from(data))), { raw })
    .gif({ delay: frames.map(() => Math.round(100 / fps) * 10), dither: 0, effort: 1, keepDuplicateFrames: true })
    .toBuffer()
  await writeWhole(path, bytes)
}
