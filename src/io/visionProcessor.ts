import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { RgbImage } from './images.js'
import { Fields, readJson } from './json.js'

/** Files that may say how a model's pictures are prepared. */
export const PROCESSOR_FILES = ['processor_config.json', 'preprocessor_config.json', 'video_preprocessor_config.json']

/** Frames of a video, one size all, in their order. */
export interface Video {
  frames: readonly RgbImage[]
  /** How many of these frames stand for a second. Default 24, transformers' guess. */
  fps?: number
}

/** Patches of a picture (t = 1) or a video in time, down and across, as `image_grid_thw` has them; of models that see tiles of one size: how many
 * there are, and the picture's height and width. */
export type Grid = readonly [t: number, h: number, w: number]

/** A picture or a video as a model takes it. */
export interface Picture {
  patches: Float32Array
  grid: Grid
  /** What stands for it in a text, in place of its mark. */
  text: string
}

/** Prepares pictures for a model, and says which tokens stand for them. */
export interface VisionProcessor {
  /** What a chat template writes where a picture or a video stands. Without one for images, a text has one at most, whose tokens come before all
   * others, also those that begin a text. */
  marks: { image?: string; video?: string }
  /** @param among how many its prompt has: some models see one alone in more detail. Default 1 */
  image(image: RgbImage, among?: number): Picture
  /** @returns also `second_per_grid_ts`, the time between two patches */
  video?(video: Video): Picture & { seconds: number }
}

/** The fields that say how pictures or videos are prepared, as transformers looks for them: a part of processor_config.json, else a file of the part's own, else that of pictures. */
export async function processorFields(dir: string, part: 'image_processor' | 'video_processor'): Promise<Fields> {
  const whole = join(dir, 'processor_config.json')
  const json = await readJson(whole, { optional: true })
  if (json[part]) return new Fields(json, whole).within(part)
  const own = join(dir, 'video_preprocessor_config.json')
  const path = part === 'video_processor' && existsSync(own) ? own : join(dir, 'preprocessor_config.json')
  return new Fields(await readJson(path), path)
}
