import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { readImage, type RgbImage } from './images.js'
import { requireFile } from './requireFile.js'
import { sampleVideo, type VideoSampling } from './sampleVideo.js'
import { openStream } from './videoStream.js'
import type { Video } from './visionProcessor.js'

/** A video that can be decoded in part. */
export interface FrameSource {
  /** When each frame is shown, in seconds from the first. */
  timestamps: readonly number[]
  /** Frames a second, in the mean. */
  fps: number
  width: number
  height: number
  /** Decodes frames of these numbers, which ascend. */
  read(frames: readonly number[]): Promise<RgbImage[]>
}

/** Frames taken of a video. */
export interface DecodedVideo extends Video {
  frames: RgbImage[]
  /** How many of `frames` stand for a second: what was taken of the video's own. */
  fps: number
  /** When each of `frames` is shown, in seconds from the video's first. */
  timestamps: number[]
  /** Frames that the video has. */
  total: number
}

export interface VideoOptions extends VideoSampling {
  /** Frames a second of a folder or list of frames, which does not say. Default 24, transformers' guess. */
  raw_fps?: number
  /** Refuses to decode frames that have more pixels together. Default 500 million: 1.5 GB. */
  maxPixels?: number
}

/** Decodes a video: mp4, mov, webm, mkv (H.264, H.265, VP8, VP9 or AV1, by the optional package @napi-rs/webcodecs); GIF or animated
 * WebP; a folder of frames, in the order of the numbers in their names; or a list of frames. Frames that are not taken are not kept. They
 * are turned as an mp4 says. Colours are those that PyAV gives.
 * @param input path, or paths of frames, or an encoded file's bytes
 * @param options which frames: by `fps`, or `num_frames`; with neither, and no bounds, all
 * @throws Error naming the file, if it is missing, cut off, damaged, no video, or has too many frames */
export async function readVideo(
  input: string | Uint8Array | readonly string[],
  { raw_fps = 24, maxPixels = 500e6, ...sampling }: VideoOptions = {},
): Promise<DecodedVideo> {
  const where = `readVideo: ${typeof input === 'string' ? input : input instanceof Uint8Array ? `${input.length} bytes` : `frames ${input[0]} …`}` // prettier-ignore
  const source = await opened(input, raw_fps, where)
  const total = source.timestamps.length
  const all = Object.values(sampling).every(value => value === undefined)
  let chosen: number[]
  try {
    chosen = all ? [...source.timestamps.keys()] : sampleVideo(total, source.fps, sampling)
  } catch (error) {
    throw new Error(`${where}: ${(error as Error).message}`, { cause: error })
  }
  const { width, height } = source
  if (width * height * chosen.length > maxPixels)
    throw new Error(`${where}: ${chosen.length} frames of ${width} × ${height} pixels, needed at most ${maxPixels} pixels. Lower fps or max_frames, or raise maxPixels.`) // prettier-ignore
  return {
    frames: await source.read(chosen),
    fps: (chosen.length / total) * source.fps,
    timestamps: chosen.map(index => source.timestamps[index]!),
    total,
  }
}

async function opened(
  input: string | Uint8Array | readonly string[],
  rate: number,
  where: string,
): Promise<FrameSource> {
  if (input instanceof Uint8Array) return isAnimation(input) ? openAnimation(input, where) : openStream(input, where)
  if (typeof input !== 'string') return openFrames(input, rate, where)
  const file = await stat(input).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${where}: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}. Needed a video. Check the path.`, { cause: error }) // prettier-ignore
  })
  if (!file.isDirectory()) {
    requireFile(input)
    return /\.(gif|webp)$/i.test(input) ? openAnimation(await readFile(input), where) : openStream(input, where)
  }
  const names = (await readdir(input)).filter(name => FRAMES.includes(extname(name).toLowerCase()))
  names.sort(new Intl.Collator('en', { numeric: true }).compare)
  return openFrames(names.map(name => join(input, name)), rate, where) // prettier-ignore
}

const STRIP = 10e6 // pixels decoded at once
const [GIF_START, GIF_END] = [0x47, 0x3b]
const MOST_PAGES = 10_000
const MOST_DECODED = 1e11 // pixels: some minutes
const FRAMES = ['.png', '.jpg', '.jpeg', '.webp', '.tif', '.tiff', '.avif']

const isAnimation = (bytes: Uint8Array): boolean => /^(GIF8|RIFF....WEBP)/s.test(Buffer.from(bytes.subarray(0, 12)).toString('latin1')) // prettier-ignore

async function openFrames(paths: readonly string[], fps: number, where: string): Promise<FrameSource> {
  if (paths.length === 0) throw new Error(`${where}: found no frames, needed files ending in ${FRAMES.join(', ')}.`)
  const { width, height } = await readImage(paths[0]!)
  return {
    timestamps: paths.map((_, i) => i / fps),
    fps,
    width,
    height,
    async read(frames) {
      const images: RgbImage[] = []
      for (const frame of frames) images.push(await readImage(paths[frame]!)) // one by one: decoding has threads of its own
      return images
    },
  }
}

/** GIF or WebP: a frame stays as long as its delay says; without one, as in browsers, a tenth of a second. */
async function openAnimation(input: Uint8Array, where: string): Promise<FrameSource> {
  const { default: sharp } = await import('sharp')
  const options = { failOn: 'error', limitInputPixels: false } as const
  const broken = (error: Error): never => {
    throw new Error(`${where}: ${error.message.split('\n', 1)[0]}. Needed a whole GIF or WebP.`, { cause: error })
  }
  const end = input.findLastIndex(byte => byte !== 0)
  if (input[0] === GIF_START && input[end] !== GIF_END) broken(new Error('it is cut off')) // libvips takes what is there
  const { pages = 1, delay = [], width, height, pageHeight } = await sharp(input, { ...options, pages: -1 }).metadata().catch(broken) // prettier-ignore
  if (pages > MOST_PAGES) broken(new Error(`${pages} frames, needed at most ${MOST_PAGES}`))
  const seconds = Array.from({ length: pages }, (_, i) => (delay[i] || 100) / 1000)
  let time = 0
  const timestamps = seconds.map(stays => (time += stays) - stays)
  const size = { width, height: pageHeight ?? height }
  const decode = async (page: number, count: number): Promise<RgbImage[]> => {
    const strip = sharp(input, { ...options, page, pages: count })
      .flatten({ background: 'white' })
      .toColourspace('srgb')
    const data = new Uint8ClampedArray(await strip.raw().toBuffer().catch(broken))
    const length = data.length / count
    return Array.from({ length: count }, (_, i) => ({ ...size, data: data.slice(i * length, (i + 1) * length) }))
  }
  return {
    timestamps,
    fps: pages / time,
    ...size,
    async read(frames) {
      const images: RgbImage[] = []
      let decoded = 0
      for (let i = 0; i < frames.length;) {
        // One after another from the first page, so that those near to one another are decoded together.
        const [first, most] = [frames[i]!, Math.max(1, STRIP / (size.width * size.height))]
        const together = frames.slice(i).filter(frame => frame - first < most)
        if ((decoded += (together.at(-1)! + 1) * size.width * size.height) > MOST_DECODED) broken(new Error(`too long to take ${frames.length} frames of it`)) // prettier-ignore
        const strip = await decode(first, together.at(-1)! - first + 1)
        images.push(...together.map(frame => strip[frame - first]!))
        i += together.length
      }
      return images
    },
  }
}
