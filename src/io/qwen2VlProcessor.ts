import type { RgbImage } from './images.js'
import type { Fields } from './json.js'
import { CLIP_PIXELS, pixelValues } from './pixelValues.js'
import { resize } from './resize.js'
import { processorFields, type Picture, type Video } from './visionProcessor.js'

/** Patches of temporal_patch_size frames, patch_size rows and columns, row by row: merge_size² neighbouring ones after one another; in each
 * the channels, in each of these the frames, rows and columns. The grid is `image_grid_thw`. */
export type PatchRows = Omit<Picture, 'text'>

/** Prepares pictures and videos for Qwen2-VL and Qwen2.5-VL. */
export interface Qwen2VlProcessor {
  image(image: RgbImage): PatchRows
  /** @returns also `second_per_grid_ts`, the time between two patches */
  video(video: Video): PatchRows & { seconds: number }
  /** Which frames of a longer video to take; what is left out is as the directory's files say. */
  sample(total: number, fps: number, options?: FrameSampling): number[]
}

/** How many frames are taken. */
export interface FrameSampling {
  /** Frames a second; not with num_frames. */
  fps?: number
  num_frames?: number
  min_frames?: number
  max_frames?: number
}

/** Sizes in pixels, and how values are normalised, of pictures or of videos. */
interface Settings {
  shortest_edge: number
  longest_edge: number
  patch_size: number
  merge_size: number
  temporal_patch_size: number
  /** Of each channel what a byte becomes. */
  values: readonly Float32Array[]
}

/** Reads processor_config.json, as transformers 5 writes it, or preprocessor_config.json with video_preprocessor_config.json, as the hub has them.
 * @throws Error naming the file and the field for values that are missing, unsound, or ask for what is not supported
 * @source transformers 5.23, Qwen2VLImageProcessor and Qwen2VLVideoProcessor: the torchvision ones, which are its default. Their values are equal */
export async function loadQwen2VlProcessor(dir: string): Promise<Qwen2VlProcessor> {
  const [images, videos] = [
    await processorFields(dir, 'image_processor'),
    await processorFields(dir, 'video_processor'),
  ]
  const ofImages = settings(images, { shortest_edge: 56 * 56, longest_edge: 28 * 28 * 1280 })
  const ofVideos = settings(videos, { shortest_edge: 128 * 28 * 28, longest_edge: 28 * 28 * 768 })
  videos.only('cap_pixels_per_frame', false)
  const usual: FrameSampling = {
    min_frames: videos.count('min_frames', 4),
    max_frames: videos.count('max_frames', 768),
  }
  if (videos.get('fps') !== undefined) usual.fps = videos.number('fps')
  else if (videos.get('num_frames') !== undefined) usual.num_frames = videos.count('num_frames')
  return {
    image: image => patchRows([image], ofImages),
    video({ frames, fps = 24 }) {
      if (frames.length === 0) throw new Error('video: found no frames, needed at least one.')
      return { ...patchRows(frames, ofVideos), seconds: ofVideos.temporal_patch_size / fps }
    },
    sample: (total, fps, options = {}) =>
      sampleFrames(total, fps, { ...usual, ...options, temporal_patch_size: ofVideos.temporal_patch_size }),
  }
}

function settings(fields: Fields, usual: Pick<Settings, 'shortest_edge' | 'longest_edge'>): Settings {
  fields.only('do_resize', true)
  fields.only('resample', 3) // bicubic
  const size = fields.within('size')
  return {
    shortest_edge: fields.count('min_pixels', size.count('shortest_edge', usual.shortest_edge)),
    longest_edge: fields.count('max_pixels', size.count('longest_edge', usual.longest_edge)),
    patch_size: fields.count('patch_size', 14),
    merge_size: fields.count('merge_size', 2),
    temporal_patch_size: fields.count('temporal_patch_size', 2),
    values: pixelValues(fields, CLIP_PIXELS),
  }
}

/** The size nearest to a picture's whose sides are multiples of a factor and whose area lies between bounds.
 * @throws Error for a picture more than 200 times as long as wide */
export function smartResize(
  height: number,
  width: number,
  factor: number,
  minPixels: number,
  maxPixels: number,
): [height: number, width: number] {
  if (Math.max(height, width) > 200 * Math.min(height, width))
    throw new Error(`${width} × ${height} pixels: one side is more than 200 times the other. Crop the picture.`)
  const scaled = (by: number, round: (x: number) => number): [number, number] => [
    round((height * by) / factor) * factor,
    round((width * by) / factor) * factor,
  ]
  const [high, wide] = scaled(1, halfToEven)
  if (high * wide > maxPixels) {
    const by = Math.sqrt((height * width) / maxPixels)
    const least = (side: number) => Math.max(factor, Math.floor(side / by / factor) * factor)
    return [least(height), least(width)]
  }
  return high * wide < minPixels ? scaled(Math.sqrt(minPixels / (height * width)), Math.ceil) : [high, wide]
}

/** Frames spread evenly over a video.
 * @param total frames that there are
 * @param rate frames a second that there are
 * @returns their indices, from 0; their number is a multiple of temporal_patch_size
 * @throws Error if more are asked for than there are, or both fps and num_frames
 * @source transformers 5.23, Qwen2VLVideoProcessor.sample_frames */
export function sampleFrames(
  total: number,
  rate: number,
  {
    fps,
    num_frames,
    min_frames = 4,
    max_frames = 768,
    temporal_patch_size: even = 2,
  }: FrameSampling & { temporal_patch_size?: number },
): number[] {
  if (fps !== undefined && num_frames !== undefined)
    throw new Error('sampleFrames: found fps and num_frames, needed one of them.')
  let count = total
  if (num_frames !== undefined) count = halfToEven(num_frames / even) * even
  else if (fps !== undefined) {
    const most = Math.floor(Math.min(max_frames, total) / even) * even
    count = Math.floor(Math.min(Math.max((total / rate) * fps, min_frames), most, total) / even) * even
  }
  if (count > total || count < 1)
    throw new Error(
      `sampleFrames: ${count} frames of a video that has ${total}. Ask for fewer, or for at least ${even}.`,
    )
  const step = total / count
  return Array.from({ length: Math.ceil(total / step) }, (_, i) => Math.trunc(Math.fround(i * step)))
}

/** As Python rounds. */
function halfToEven(x: number): number {
  const below = Math.floor(x)
  if (x - below !== 0.5) return Math.round(x)
  return below % 2 === 0 ? below : below + 1
}

/** Patches of pictures of one size, resized; a picture alone, or an odd last one, is repeated. */
function patchRows(pictures: readonly RgbImage[], s: Settings): PatchRows {
  const [P, merge, times] = [s.patch_size, s.merge_size, s.temporal_patch_size]
  const [first] = pictures as [RgbImage]
  pictures.forEach(({ width, height }, i) => {
    if (width !== first.width || height !== first.height)
      throw new Error(
        `video: frame ${i} is ${width} × ${height}, the first ${first.width} × ${first.height}. Resize them to one size.`,
      )
  })
  const [height, width] = smartResize(first.height, first.width, P * merge, s.shortest_edge, s.longest_edge)
  const frames = pictures.map(picture => resize(picture, width, height, 'bicubic', 'torchvision').data)
  const [t, h, w] = [Math.ceil(frames.length / times), height / P, width / P]
  const patches = new Float32Array(t * h * w * 3 * times * P * P)
  let at = 0
  for (let time = 0; time < t; time++)
    for (const [row, column] of unitByUnit(h, w, merge))
      for (let c = 0; c < 3; c++)
        for (let f = 0; f < times; f++) {
          const data = frames[Math.min(time * times + f, frames.length - 1)]!
          for (let y = row * P; y < (row + 1) * P; y++)
            for (let x = column * P; x < (column + 1) * P; x++)
              patches[at++] = s.values[c]![data[(y * width + x) * 3 + c]!]!
        }
  return { patches, grid: [t, h, w] }
}

/** Rows and columns of patches, merge × merge of them after one another. */
function* unitByUnit(h: number, w: number, merge: number): Generator<[row: number, column: number]> {
  for (let top = 0; top < h; top += merge)
    for (let left = 0; left < w; left += merge)
      for (let y = top; y < top + merge; y++) for (let x = left; x < left + merge; x++) yield [y, x]
}
