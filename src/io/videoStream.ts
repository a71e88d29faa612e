import { open } from 'node:fs/promises'
import type { RgbImage } from './images.js'
import type { FrameSource } from './video.js'
import { reader, readContainer, type VideoContainer } from './videoContainer.js'
import { yuvToRgb } from './yuv.js'

const MOST_FRAMES = 1_000_000 // nine hours at 30 a second; their times are held
const MOST_PIXELS = 100e6 // of a frame, whatever the container says
const AHEAD = 8 // packets that the decoder is given before it has done with earlier ones

/** Opens an mp4, mov, webm or mkv of H.264, H.265, VP8, VP9 or AV1. Its packets are read once, for their times; frames are decoded
 * when they are read, from the first to the last that is wanted, and the others dropped at once.
 * @throws Error without the optional package that decodes; for a file that is no video, or cut off */
export async function openStream(input: string | Uint8Array, where: string): Promise<FrameSource> {
  const { Mp4Demuxer, VideoDecoder } = await loadWebCodecs(where)
  const { bytes, rotation, size } = await containerOf(input)
  const cut = bytes !== undefined && size < bytes ? `it is cut off: ${size} of ${bytes} bytes are there` : null

  /** Hands out packets to the end, or until `each` says no more. */
  async function packets(each: (packet: Packet) => Promise<boolean> | boolean, begin: (demuxer: Demuxer) => void) {
    const failures: Error[] = []
    const demuxer = new Mp4Demuxer({ videoOutput: () => {}, error: error => failures.push(error) }) // opens any container
    try {
      await (typeof input === 'string' ? demuxer.load(input) : demuxer.loadBuffer(input)).catch((error: Error) => {
        throw new Error(`${where}: ${cut ?? reasonOf(error)}. Needed a whole mp4, mov, webm or mkv.`, { cause: error })
      })
      begin(demuxer)
      for await (const { videoChunk } of demuxer)
        if (failures.length > 0 || (videoChunk && !(await each(videoChunk)))) break
      if (failures.length > 0) throw new Error(`${where}: ${reasonOf(failures[0]!)}.`, { cause: failures[0] })
    } finally {
      demuxer.close()
    }
  }

  const times: number[] = [] // microseconds
  let [last, duration, width, height]: [number, number | null, number, number] = [0, null, 0, 0]
  await packets(
    ({ timestamp, duration }) => {
      times.push(timestamp)
      last = duration ?? 0
      if (times.length > MOST_FRAMES)
        throw new Error(`${where}: more than ${MOST_FRAMES} frames. Cut the video into shorter ones.`)
      return true
    },
    demuxer => {
      const track = demuxer.tracks.find(({ trackType }) => trackType === 'video')
      if (!track || !demuxer.videoDecoderConfig) throw new Error(`${where}: no video stream in it. Check the file.`)
      if (track.codec === 'none')
        throw new Error(`${where}: a codec that is not decoded. Needed H.264, H.265, VP8, VP9 or AV1.`)
      duration = track.duration ?? demuxer.duration
      ;[width, height] = [track.codedWidth ?? 0, track.codedHeight ?? 0]
    },
  ).catch((error: Error) => {
    if (error.message.startsWith(where)) throw error
    throw new Error(`${where}: ${reasonOf(error)}. Fetch or encode the file again.`, { cause: error })
  })
  times.sort((a, b) => a - b) // they come in the order of decoding
  const rate = rateOf(times, last)
  if (times.length === 0) throw new Error(`${where}: ${cut ?? 'no frames in it'}. Needed at least one.`)
  if (cut !== null) {
    const all = duration === null ? '' : ` of about ${Math.round((duration / 1e6) * rate)}`
    throw new Error(`${where}: ${cut}, and with them ${times.length}${all} frames. Fetch the file again.`)
  }

  return {
    timestamps: times.map(time => (time - times[0]!) / 1e6),
    fps: rate,
    width,
    height,
    async read(wanted) {
      const kept = new Map<number, RgbImage>()
      const pending: Promise<void>[] = []
      const [set, end] = [new Set(wanted), Math.max(...wanted)]
      const state = { shown: 0, failure: undefined as Error | undefined }
      const decoder = new VideoDecoder({
        output(frame) {
          const index = state.shown++ // frames come in the order of showing, though their times do not
          if (frame.codedWidth * frame.codedHeight > MOST_PIXELS) state.failure ??= new Error(`a frame of ${frame.codedWidth} × ${frame.codedHeight} pixels, needed at most ${MOST_PIXELS}`) // prettier-ignore
          if (state.failure || !set.has(index)) return frame.close()
          const copied = rgbOf(frame, rotation).then(
            image => void kept.set(index, image),
            (error: Error) => void (state.failure ??= error), // here, as nobody awaits it before the last frame
          )
          pending.push(copied.finally(() => frame.close()))
        },
        error: error => (state.failure ??= error),
      })
      try {
        const decode = async (packet: Packet) => {
          decoder.decode(packet)
          while (decoder.decodeQueueSize > AHEAD && !state.failure) await new Promise(done => setTimeout(done, 1))
          return !state.failure && state.shown <= end
        }
        await packets(decode, demuxer => decoder.configure({ ...demuxer.videoDecoderConfig!, hardwareAcceleration: 'prefer-software' })) // prettier-ignore
        if (!state.failure && state.shown <= end) await decoder.flush()
      } catch (error) {
        state.failure ??= error as Error
      }
      await Promise.all(pending)
      if (decoder.state !== 'closed') decoder.close()
      const lost = wanted.find(index => !kept.has(index))
      if (lost !== undefined)
        throw new Error(
          `${where}: frame ${lost} of ${times.length} cannot be decoded, ${state.shown} can` +
            `${state.failure ? ` (${reasonOf(state.failure)})` : ''}. Fetch or encode the file again.`,
          { cause: state.failure },
        )
      return wanted.map(index => kept.get(index)!)
    },
  }
}

/** Frames a second, from times in microseconds. Times are rounded, in webm to milliseconds: a usual rate that is as near as that is
 * meant, and a whole number stays one. */
function rateOf(times: readonly number[], last: number): number {
  const span = (times.at(-1)! - times[0]!) / 1e6
  if (times.length < 2 || span <= 0) return last > 0 ? 1e6 / last : 24
  const rate = (times.length - 1) / span
  const usual = [Math.round(rate * 2) / 2, Math.round(rate * 1.001) / 1.001].filter(x => x > 0)
  const [off, nearest] = usual.map(x => [Math.abs((times.length - 1) / x - span), x] as const).sort((a, b) => a[0] - b[0])[0] ?? [1, 0] // prettier-ignore
  return off <= 1e-3 ? nearest : rate
}

async function rgbOf(frame: VideoFrame, rotation: VideoContainer['rotation']): Promise<RgbImage> {
  const { format, codedWidth: width, codedHeight: height, colorSpace } = frame
  const [, subsampling, bits] = /^I(420|422|444)(?:P(10|12))?$/.exec(format ?? '') ?? []
  if (colorSpace.matrix === 'rgb') throw new Error('its samples are RGB, which is not decoded. Encode it as YUV')
  let image: RgbImage
  if (subsampling) {
    const data = new Uint8Array(frame.allocationSize())
    const planes = await frame.copyTo(data)
    const { matrix, fullRange } = colorSpace
    const chroma = [subsampling === '444' ? 1 : 2, subsampling === '420' ? 2 : 1] as const
    image = yuvToRgb({ width, height, data, planes, chroma, bits: Number(bits ?? 8), matrix, fullRange: fullRange === true }) // prettier-ignore
  } else {
    const data = new Uint8Array(frame.allocationSize({ format: 'RGBX' }))
    const [{ offset, stride }] = (await frame.copyTo(data, { format: 'RGBX' })) as [{ offset: number; stride: number }]
    const rgb = new Uint8ClampedArray(width * height * 3)
    for (let i = 0; i < rgb.length; i++) {
      const pixel = Math.floor(i / 3)
      rgb[i] = data[offset + Math.floor(pixel / width) * stride + (pixel % width) * 4 + (i % 3)]!
    }
    image = { width, height, data: rgb }
  }
  return rotated(image, rotation)
}

/** Turned clockwise. */
function rotated(image: RgbImage, by: VideoContainer['rotation']): RgbImage {
  if (by === 0) return image
  const { width, height, data } = image
  const [wide, high] = by === 180 ? [width, height] : [height, width]
  const turned = new Uint8ClampedArray(data.length)
  for (let y = 0, to = 0; y < high; y++)
    for (let x = 0; x < wide; x++, to += 3) {
      const [column, row] = by === 90 ? [y, height - 1 - x] : by === 180 ? [width - 1 - x, height - 1 - y] : [width - 1 - y, x] // prettier-ignore
      const from = (row * width + column) * 3
      turned.set(data.subarray(from, from + 3), to)
    }
  return { width: wide, height: high, data: turned }
}

async function containerOf(input: string | Uint8Array): Promise<VideoContainer & { size: number }> {
  if (typeof input !== 'string') return { ...(await readContainer(reader(input), input.length)), size: input.length }
  const file = await open(input)
  try {
    const { size } = await file.stat()
    return { ...(await readContainer(reader(file), size)), size }
  } finally {
    await file.close()
  }
}

/** Optional, since its binary contains FFmpeg with x264, which is GPL: whoever decodes video files installs it. */
async function loadWebCodecs(where: string): Promise<WebCodecs> {
  const name = '@napi-rs/webcodecs' // no literal: what is optional is not needed to build either
  return import(name).then(
    found => found as WebCodecs,
    (error: Error) => {
      throw new Error(
        `${where}: video files are decoded by ${name}, which is not installed (${error.message.split('\n', 1)[0]}). ` +
          `Run: npm install ${name}@1.3.1. Folders of frames and GIF need nothing.`,
        { cause: error },
      )
    },
  )
}

/** What is used of the package; times in microseconds. */
interface WebCodecs {
  Mp4Demuxer: new (init: { videoOutput: () => void; error: (error: Error) => void }) => Demuxer
  VideoDecoder: new (init: { output: (frame: VideoFrame) => void; error: (error: Error) => void }) => Decoder
}

interface Demuxer extends AsyncIterable<{ videoChunk?: Packet }> {
  load(path: string): Promise<void>
  loadBuffer(bytes: Uint8Array): Promise<void>
  readonly tracks: readonly { trackType: string; codec: string; duration?: number; codedWidth?: number; codedHeight?: number }[] // prettier-ignore
  readonly duration: number | null
  readonly videoDecoderConfig: object | null
  close(): void
}

interface Packet {
  readonly timestamp: number
  readonly duration: number | null
}

interface Decoder {
  readonly state: string
  readonly decodeQueueSize: number
  configure(config: object): void
  decode(packet: Packet): void
  flush(): Promise<void>
  close(): void
}

interface VideoFrame {
  readonly format: string | null
  readonly codedWidth: number
  readonly codedHeight: number
  readonly colorSpace: { readonly matrix: string | null; readonly fullRange: boolean | null }
  allocationSize(options?: { format: string }): number
  copyTo(to: Uint8Array, options?: { format: string }): Promise<{ offset: number; stride: number }[]>
  close(): void
}

/** FFmpeg's own words, without the wrappers'. */
const reasonOf = (error: Error): string => error.message.replace(/^.*FFmpeg error(?: -?\d+)?: /s, '')
