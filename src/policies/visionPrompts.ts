import * as tf from '@tensorflow/tfjs-core'
import type { RgbImage } from '../io/images.js'
import type { PatchRows, Qwen2VlProcessor, Video } from '../io/qwen2VlProcessor.js'
import type { ContentPart, Message, MixedMessage } from '../io/tokenizer.js'
import { ropeIndex, seenBy, tokenTypes, type Features, type Seen, type Sight, type Vision } from '../models/index.js'

/** A prompt with pictures or videos, in the order of the marks that stand for them. Messages say where with parts `{ type: 'image' }` and
 * `{ type: 'video' }`; if none does, they come before the first text of the user, videos last (TRL). A text has the model's own marks. */
export interface VisionPrompt {
  prompt: string | readonly MixedMessage[]
  images?: readonly RgbImage[]
  videos?: readonly Video[]
}

export const isVisionPrompt = (prompt: unknown): prompt is VisionPrompt =>
  typeof prompt === 'object' && prompt !== null && 'prompt' in prompt

/** What rows of tokens see, each tensor row by row: features, or where a part that sees learns, the patches that they are computed from. */
export type SightRows = {
  features?: Features
  seen?: Seen
  position_ids: tf.Tensor // [B, 3, P] int32
  /** Position of the first token after the prompt. */
  next: tf.Tensor // [B] int32
}

/** A prompt's pictures as patches. */
export interface Pictures {
  images: PatchRows[]
  videos: (PatchRows & { seconds: number })[]
}

/** A prompt's text or messages, with a part for each picture.
 * @throws Error if some messages have parts, but not as many as there are pictures */
export function marked({ prompt, images = [], videos = [] }: VisionPrompt): string | readonly MixedMessage[] {
  if (typeof prompt === 'string' || prompt.some(({ content }) => typeof content !== 'string')) return prompt
  const first = prompt.findIndex(({ role }) => role === 'user')
  const parts: ContentPart[] = [...images.map(() => ({ type: 'image' })), ...videos.map(() => ({ type: 'video' }))]
  return prompt.map(({ role, content }, i) =>
    i === first
      ? { role, content: [...parts, { type: 'text', text: content as Message['content'] }] }
      : { role, content },
  )
}

export const picturesOf = (processor: Qwen2VlProcessor, { images = [], videos = [] }: VisionPrompt): Pictures => ({
  images: images.map(image => processor.image(image)),
  videos: videos.map(video => processor.video(video)),
})

/** Token ids in which each mark stands as often as its picture has tokens.
 * @throws Error if there are more or fewer marks than pictures */
export function expanded(
  vision: Vision,
  ids: readonly number[],
  { images, videos }: Pictures,
  where: string,
): number[] {
  const kinds = [
    { id: vision.image_token_id, what: 'images', pictures: images },
    { id: vision.video_token_id, what: 'videos', pictures: videos },
  ]
  const counts = new Map<number, number[]>()
  for (const { id, what, pictures } of kinds) {
    const marks = ids.filter(i => i === id).length
    if (marks !== pictures.length)
      throw new Error(
        `${where} has ${marks} marks for ${what} and ${pictures.length} ${what}, needed one mark for each. ` +
          `Add { type: '${what.slice(0, -1)}' } to its message, or give as many ${what}.`,
      )
    counts.set(
      id,
      pictures.map(({ grid: [t, h, w] }) => (t * h * w) / vision.spatial_merge_size ** 2),
    )
  }
  return ids.flatMap(id => {
    const count = counts.get(id)?.shift()
    return count === undefined ? [id] : Array<number>(count).fill(id)
  })
}

/** Lays out what padded prompts see.
 * @param apart each row by itself, so that rows can be taken out of the batch
 * @returns what the tower takes, and where the tokens are */
export function lookedAt(
  vision: Vision,
  prompts: readonly Pictures[],
  ids: ArrayLike<number>,
  mask: ArrayLike<number>,
  P: number,
  apart: boolean,
): { seen: Seen; position_ids: tf.Tensor; next: tf.Tensor } {
  const joined = (rows: readonly PatchRows[]) => {
    const patches = new Float32Array(rows.reduce((sum, row) => sum + row.patches.length, 0))
    let at = 0
    for (const row of rows) {
      patches.set(row.patches, at)
      at += row.patches.length
    }
    return { patches, grids: rows.map(({ grid }) => grid) }
  }
  const sightOf = (prompts: readonly Pictures[]): Sight => {
    const videos = prompts.flatMap(p => p.videos)
    return {
      images: joined(prompts.flatMap(p => p.images)),
      videos: { ...joined(videos), seconds: videos.map(({ seconds }) => seconds) },
    }
  }
  const sight = sightOf(prompts)
  const { positions, next } = ropeIndex(vision, tokenTypes(vision, ids), mask, P, sight)
  return {
    seen: seenBy(vision, ids, P, apart ? prompts.map(row => sightOf([row])) : [sight]),
    position_ids: tf.tensor3d(positions, [next.length, 3, P], 'int32'),
    next: tf.tensor1d(next, 'int32'),
  }
}
