import * as tf from '@tensorflow/tfjs-core'
import type { Tokenizer } from '../io/tokenizer.js'
import type { Grid, VisionProcessor } from '../io/visionProcessor.js'
import type { TensorTree } from '../xla/index.js'
import type { Features } from './causalModel.js'
import type { ForwardModel } from './forwardModel.js'

/* What the host works out for a model that sees, so that its programs have static shapes: sizes of pictures are numbers here, and what follows
 * from them goes into a program as tensors. A unit is what becomes the feature of one token. Letters: M units; N layouts, each with pictures of
 * its own: one of all rows together, or one a row. */

/** Pictures and videos of a batch, those of its first row first, as their processor gives them. */
export interface Sight {
  images: { patches: Float32Array; grids: readonly Grid[] }
  videos: {
    patches: Float32Array
    grids: readonly Grid[]
    /** Time between two rows of the grid. */ seconds: readonly number[]
  }
}

/** The part of a model that sees. */
export interface Vision {
  readonly image_token_id: number
  readonly video_token_id?: number
  /** Reads what prepares its pictures. */
  processor(dir: string, tokenizer: Tokenizer): Promise<VisionProcessor>
  /** Lays out, on the host, what a batch sees.
   * @param sights what all rows see together, or what each does
   * @param types of each token, as transformers' processor gives them; left out, as there: pictures change neither positions nor masks
   * @throws Error if the tokens are not as many as the pictures make */
  look(rows: Rows, sights: readonly Sight[], types?: ArrayLike<number>): Look
  /** Pure, differentiable in the weights, and may be called inside `jit`.
   * @returns a feature a unit [N, M, C] */
  see(weights: TensorTree, patches: Seen['patches']): tf.Tensor
  /** What transformers' forward takes besides a language model's inputs, and the name of the types among them. */
  readonly inputs: ForwardModel['inputs']
  readonly types?: string
  /** @throws Error if such inputs do not go together */
  sightOf(inputs: Record<string, tf.Tensor>): Promise<Sight>
}

/** Tokens of a batch, row by row. */
export interface Rows {
  ids: ArrayLike<number> // [B, T]
  mask: ArrayLike<number> // [B, T], 0 where there is padding
  /** Tokens a row. */
  T: number
}

/** What a batch of rows sees, and where its features go. */
export type Seen = {
  /** What `see` takes, [N, …] each, padded to a size class. */
  patches: Record<string, tf.Tensor>
  units: tf.Tensor // [B, T] int32, at which place of the layout's features + 1; 0 for text
  /** As in {@link Features}. */
  blocks?: tf.Tensor
}

/** With the positions of tokens, where they do not simply count. */
export type Look = {
  seen: Seen
  position_ids?: tf.Tensor // [B, A, T] int32
  /** Position of a text that follows each row [B] int32. */
  next?: tf.Tensor
}

/** Sizes that programs are compiled for: powers of 2, and the halves between. */
export function sizeClass(size: number, least = 16): number {
  const power = 2 ** Math.ceil(Math.log2(Math.max(size, least)))
  return size <= 0.75 * power ? 0.75 * power : power
}

/** At which place of its layout's features + 1 each token finds its own [B, T] int32; 0 for text.
 * @param layouts of each the tokens that stand for pictures, and the units of those in their order
 * @throws Error if they are not as many */
export function unitsAt(
  ids: ArrayLike<number>,
  T: number,
  layouts: readonly (readonly { id: number; what: string; units: ArrayLike<number> }[])[],
): tf.Tensor {
  const at = new Int32Array(ids.length)
  const size = ids.length / layouts.length
  layouts.forEach((kinds, n) => {
    for (const { id, what, units } of kinds) {
      let next = 0
      for (let i = n * size; i < (n + 1) * size; i++) if (ids[i] === id) at[i] = (units[next++] ?? -1) + 1
      if (next !== units.length)
        throw new Error(
          `${next} tokens stand for ${what}, whose patches make ${units.length}. Expand each mark to as many.`,
        )
    }
  })
  return tf.tensor2d(at, [ids.length / T, T], 'int32')
}

/** Features at the tokens of rows: what `see` gives, where it belongs. Pure, and may be called inside `jit`. */
export function featuresOf(vision: Vision, weights: TensorTree, { patches, units, blocks }: Seen): Features {
  const all = vision.see(weights, patches) // [N, M, C]
  const [N, M, C] = all.shape as [number, number, number]
  const there = tf.cast(tf.greater(units, tf.scalar(0, 'int32')), 'int32') // [B, T]
  const before = tf.mul(tf.range(0, N, 1, 'int32'), tf.scalar(M, 'int32')) // units of the layouts before each [N]
  const places = tf.mul(there, tf.add(units, tf.expandDims(before, 1))) // [B, T], N = 1 or B
  const values = tf.gather(tf.pad(tf.reshape(all, [N * M, C]), [[1, 0], [0, 0]]), places) // prettier-ignore
  return { values, there, ...(blocks && { blocks: tf.clone(blocks) }) }
}

/** The tower, and what connects it with the language model, such as Qwen's merger and BLIP-2's Q-Former. */
export type VisionPart = 'vision_tower' | 'mm_projector'

/** Which of them a weight belongs to; undefined for the language model's.
 * @param path in the weight tree, where what sees lies under `visual` */
export function visionPartOf(path: string): VisionPart | undefined {
  if (/^visual\.(merger|multi_modal_projector|query_tokens|qformer|language_projection)\b/.test(path))
    return 'mm_projector'
  return path.startsWith('visual.') ? 'vision_tower' : undefined
}

/** Kinds of token, as `mm_token_type_ids` has them. */
export const IMAGE = 1
export const VIDEO = 2

/** Of each token what it stands for, by its id. */
export const tokenTypes = (
  vision: Pick<Vision, 'image_token_id' | 'video_token_id'>,
  ids: ArrayLike<number>,
): Int32Array =>
  Int32Array.from(ids, id => (id === vision.image_token_id ? IMAGE : id === vision.video_token_id ? VIDEO : 0))
