import type * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import type { TensorTree } from '../xla/index.js'
import type { Vision } from './vision.js'

/** What sampling and the language policy need of a causal language model. Every function is pure, differentiable in
 * the weights, and may be called inside `jit`.
 *
 * Shape letters: B rows, T tokens, S places of the cache, C width, V vocabulary, L layers, K key heads, D head size. */
export interface CausalModel {
  /** The class in Hugging Face's `architectures`. */
  readonly architecture: string
  /** Leaves of the weight tree and their names in a checkpoint. */
  readonly parameters: readonly Parameter[]
  /** Names that a checkpoint may hold besides. */
  readonly ignored?: RegExp
  /** Parts of a checkpoint that this model is not, such as a vision tower; what is saved has them as they were. */
  readonly others?: RegExp
  /** The name in `parameters` of a tensor that checkpoints call otherwise. */
  nameOf?(stored: string): string
  readonly layers: number // L
  readonly vocabulary: number // V
  /** Longest sequence that the model was made for, in tokens. */
  readonly context: number
  /** Of models that take pictures: what sees them. */
  readonly vision?: Vision
  /** @returns hidden states after the last norm [B, T, C] */
  hidden(weights: TensorTree, input: TokenInput): tf.Tensor
  /** As `hidden` of prompts with what follows them, but a prompt is read once for all that follow it.
   * @param prompts [N, P], padded on the left
   * @param rows [B, T], B = N·G, those of a prompt side by side
   * @returns hidden states of each row's prompt at its last place, then of the row [B, 1 + T, C] */
  continued(weights: TensorTree, prompts: TokenInput, rows: TokenInput): tf.Tensor
  /** @param hidden [..., C]
   * @returns logits [..., V] float32 */
  head(weights: TensorTree, hidden: tf.Tensor): tf.Tensor
  /** As `hidden`, and keeps what later tokens attend to. */
  prefill(weights: TensorTree, input: TokenInput): { hidden: tf.Tensor; cache: KeyValueCache }
  /** The layers' part of a weight tree, each tensor [L, …]. */
  layersOf(weights: TensorTree): TensorTree
  /** One further token a row.
   * @param layers each layer's weights, as `unstack` gives them of `layersOf(weights)`
   * @returns hidden [B, 1, C] and the caches with the token's keys and values */
  decode(
    weights: TensorTree,
    layers: readonly TensorTree[],
    step: DecodeStep,
  ): { hidden: tf.Tensor; caches: KeyValueCache[] }
}

export interface ModelOptions {
  /** Training keeps each layer's input for the gradient, and computes the rest of the layer anew. False is faster, and keeps what
   * the matrix products of all layers give. Default true (TRL). */
  gradient_checkpointing?: boolean
}

export interface TokenInput {
  input_ids: tf.Tensor // [B, T] int32
  attention_mask: tf.Tensor // [B, T], 0 where there is padding
  /** Tokens see those of their own segment alone [B, T] int32: documents in one row. */
  segments?: tf.Tensor
  /** [B, T] int32; 0 … T−1 if left out, as in transformers' forward. [B, A, T] where a model gives a token several coordinates. */
  position_ids?: tf.Tensor
  /** What stands in place of the embeddings of some tokens. */
  features?: Features
}

/** What a model sees, at the tokens that stand for it. */
export type Features = {
  values: tf.Tensor // [B, T, C]
  there: tf.Tensor // [B, T], 1 where a feature replaces the embedding
  /** Tokens of one number other than 0 see one another, also those behind them [B, T] int32. */
  blocks?: tf.Tensor
}

/** Rotated keys [B, K, D, S], place by place so that products with them read along S, and values [B, K, S, D] of one layer; of all
 * with [L, …] in front. */
export type KeyValueCache = { keys: tf.Tensor; values: tf.Tensor }

export interface DecodeStep {
  input_ids: tf.Tensor // [B, 1] int32
  position_ids: tf.Tensor // [B, 1] int32
  /** Places of the prompt and the row that the token may attend to, itself among them. */
  visible: tf.Tensor // [B, P + T]
  /** Of the prompts, one a layer: [N, …] with P places, read by all G rows of a prompt (B = N·G). */
  prompts: readonly KeyValueCache[]
  /** Of the rows so far, one a layer: [B, …] with T places. */
  caches: readonly KeyValueCache[]
  /** The place of the row to write to. */
  at: tf.Tensor // scalar int32
}
