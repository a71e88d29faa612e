import type * as tf from '@tensorflow/tfjs-core'
import type { RgbImage } from '../io/images.js'
import { joined } from '../io/pixelValues.js'
import type { ContentPart, Message, MixedMessage } from '../io/tokenizer.js'
import type { Picture, Video, VisionProcessor } from '../io/visionProcessor.js'
import { tokenTypes, type Features, type Look, type Seen, type Sight, type Vision } from '../models/index.js'

/** A prompt with pictures or videos, in the order of the marks that stand for them. Messages say where with parts `{ type: 'image' }` and
 * `{ type: 'video' }`; if none does, they come before the first text of the user, videos last (TRL). A text has the model's own marks. */
export interface VisionPrompt {
  prompt: string | readonly MixedMessage[]
  images?: readonly RgbImage[]
  videos?: readonly Video[]
  /** The row of a file, which errors name. */
  where?: string
}

/** A prompt whose pictures are decoded when the policy takes it, each time: rows of `visionRows`. */
export interface StoredPrompt extends VisionPrompt {
  open(): Promise<Pick<VisionPrompt, 'images' | 'videos'>>
}

export const isStored = (prompt: unknown): prompt is StoredPrompt =>
  isVisionPrompt(prompt) && 'open' in prompt && prompt.open !== undefined

/** Prompts with the pictures that they were stored with. */
export async function opened<P>(prompts: readonly P[]): Promise<(P | VisionPrompt)[]> {
  const all: (P | VisionPrompt)[] = []
  for (const [i, prompt] of prompts.entries()) {
    const first = prompts.indexOf(prompt) // the prompt of a group is decoded once
    if (first < i) all.push(all[first]!)
    else if (!isStored(prompt)) all.push(prompt)
    else all.push({ prompt: prompt.prompt, where: prompt.where, ...(await prompt.open()) })
  }
  return all
}

/** Where a prompt comes from, for errors. */
export const placeOf = (prompt: unknown, otherwise: string): string =>
  (isVisionPrompt(prompt) ? prompt.where : undefined) ?? otherwise

export const isVisionPrompt = (prompt: unknown): prompt is VisionPrompt =>
  typeof prompt === 'object' && prompt !== null && 'prompt' in prompt

/** What rows of tokens see, each tensor row by row: features, or where a part that sees learns, the patches that they are computed from. */
export type SightRows = {
  features?: Features
  seen?: Seen
  /** Where positions do not simply count [B, A, P] int32. */
  position_ids?: tf.Tensor
  /** Position of the first token after the prompt [B] int32. Default: the prompt's length. */
  next?: tf.Tensor
}

/** A prompt's pictures as the model takes them, and the marks in whose place their texts stand. */
export interface Pictures {
  images: Picture[]
  videos: (Picture & { seconds: number })[]
  marks: VisionProcessor['marks']
}

/** A prompt's text or messages, with a part for each picture. */
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

/** Messages whose texts are parts, too, as TRL hands them to models that see: templates such as LLaVA's pass over a content that is a text. */
export const inParts = (messages: readonly MixedMessage[]): MixedMessage[] =>
  messages.map(({ role, content }) => ({
    role,
    content: typeof content === 'string' ? [{ type: 'text', text: content }] : content,
  }))

/** @throws Error for videos, of a model that takes none */
export function picturesOf(
  processor: VisionProcessor,
  { images = [], videos = [] }: VisionPrompt,
  where: string,
): Pictures {
  if (videos.length > 0 && !processor.video)
    throw new Error(`${where} has videos, and the model takes images alone. Give frames of them as images.`)
  return {
    images: images.map(image => processor.image(image, images.length)),
    videos: videos.map(video => processor.video!(video)),
    marks: processor.marks,
  }
}

/** A text in which the first marks are replaced by what stands for their pictures. What they become depends on the text beside them,
 * so that this comes before the text is cut into tokens. */
export function expanded(text: string, { images, videos, marks }: Pictures): string {
  const replaced = (text: string, mark: string | undefined, pictures: readonly Picture[]) =>
    partsAt(text, mark).reduce((all, part, i) => all + (pictures[i - 1]?.text ?? mark) + part)
  return replaced(replaced(text, marks.image, images), marks.video, videos)
}

/** What stands before a text and the tokens that begin it: the picture of a model without marks. */
export const leading = ({ images, marks }: Pictures): string =>
  marks.image === undefined ? (images[0]?.text ?? '') : ''

/** @throws Error if a prompt's text has more or fewer marks than pictures, or for two pictures of a model without marks */
export function checkMarks(text: string, { images, videos, marks }: Pictures, where: string): void {
  if (marks.image === undefined && images.length > 1)
    throw new Error(
      `${where} has ${images.length} images, and the model takes one, before the text. Leave the others out.`,
    )
  const kinds = [
    { mark: marks.image, what: 'images', pictures: images },
    { mark: marks.video, what: 'videos', pictures: videos },
  ].filter(({ mark }) => mark !== undefined)
  for (const { mark, what, pictures } of kinds) {
    const found = partsAt(text, mark).length - 1
    if (found !== pictures.length)
      throw new Error(
        `${where} has ${found} marks for ${what} and ${pictures.length} ${what}, needed one mark for each. ` +
          `Add { type: '${what.slice(0, -1)}' } to its message, or give as many ${what}.`,
      )
  }
}

/** What stands around a mark; the whole, for a tokenizer without one. */
const partsAt = (text: string, mark: string | undefined): string[] => (mark ? text.split(mark) : [text])

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
): Look {
  const together = (rows: readonly Picture[]) => ({
    patches: joined(rows.map(({ patches }) => patches)),
    grids: rows.map(({ grid }) => grid),
  })
  const sightOf = (prompts: readonly Pictures[]): Sight => {
    const videos = prompts.flatMap(p => p.videos)
    return {
      images: together(prompts.flatMap(p => p.images)),
      videos: { ...together(videos), seconds: videos.map(({ seconds }) => seconds) },
    }
  }
  const sights = apart ? prompts.map(row => sightOf([row])) : [sightOf(prompts)]
  return vision.look({ ids, mask, T: P }, sights, tokenTypes(vision, ids))
}
