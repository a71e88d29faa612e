import type * as tf from '@tensorflow/tfjs-core'
import type { VisionPart } from '../models/index.js'
import type { TensorTree } from '../xla/index.js'

/** How a policy is written to a directory. */
export interface SaveOptions {
  /** Add the adapter into the weights, and write the whole model. */
  merge?: boolean
  /** Weights to write in place of those in training. */
  trainable?: TensorTree
}

/** The seam between optimizers and models: one optimizer serves token models and image models through it.
 *
 * Shape letters: B rows (prompts × generations, the rows of a group side by side), T tokens or denoising steps. */
export interface Policy<Prompt = unknown, Output = unknown> {
  /** Current weights; an optimizer replaces `weights.trainable` after each step. */
  weights: Weights
  /** Frozen twin for KL terms and DPO. Under LoRA: the base weights without the adapter, not a copy. */
  readonly reference: Weights
  /** Draws `num_generations` outputs a prompt with the current weights. */
  sample(prompts: readonly Prompt[], options: SampleOptions): Promise<Samples<Output>>
  /** Log-probabilities of stored trajectories under the given weights: pure and differentiable, callable inside `jit`. */
  evaluate(weights: Weights, trajectories: Trajectories, options?: { entropy?: boolean } & Grouped): Evaluation
  /** Turns given outputs (a data set's rows) into the static-shape tree that `score` and `evaluate` take. Options are about tokens; policies
   * that have none pass over them. */
  encode(
    prompts: readonly Prompt[],
    outputs: readonly Output[],
    options?: EncodeOptions,
  ): TensorTree | Promise<TensorTree>
  /** Tokens of rows that `encode` would make. Left out where outputs are not tokens. */
  lengths?(prompts: readonly Prompt[], outputs: readonly Output[], options?: EncodeOptions): number[]
  /** Takes given outputs for drawn ones: their trajectories, with the log-probabilities of the current weights. Left out where outputs do
   * not tell the steps that they were drawn by (flows). */
  replay?(prompts: readonly Prompt[], outputs: readonly Output[]): Promise<Trajectories>
  /** How likely stored outputs are, for pairs and supervised training: pure and differentiable, callable inside `jit`.
   * @returns score [B]: Σ log-prob over the completion (tokens) or −½·mean‖v−u‖² (flows, (t, noise) drawn from `key`);
   * length [B]: tokens of the completion, or 1 */
  score(
    weights: Weights,
    outputs: TensorTree,
    key: tf.Tensor,
    options?: Grouped,
  ): { score: tf.Tensor; length: tf.Tensor }
  /** Which part of the model a trainable weight belongs to, of parts that may have a learning rate of their own. Left out where there are none.
   * @param path in the tree of trainable weights */
  partOf?(path: string): VisionPart | undefined
  /** An independent policy that starts from the same weights, or from given trainable ones, such as a run's average; frozen weights are
   * shared. */
  fork(trainable?: TensorTree): Policy<Prompt, Output>
  dispose(): void
}

/** How rows of tokens are cut, and which tokens count; names are TRL's. */
export interface EncodeOptions {
  /** Tokens that are kept of a row, prompt and output together. Default null: all. */
  max_length?: number | null
  /** Which tokens of a longer row: the first, or the last. Default keep_start. */
  truncation_mode?: 'keep_start' | 'keep_end'
  /** False: the prompt's tokens count, too. Default true. */
  completion_only_loss?: boolean | null
  /** Only what the assistant says in messages counts. Default false. */
  assistant_only_loss?: boolean
  /** How many of the rows lie behind one another in each row of the result; they do not see each other. Default one each. */
  packs?: readonly number[]
}

/** How rows go together. */
export interface Grouped {
  /** So many rows side by side have the same prompt, which need be read but once, and share what is drawn at random. Default 1. */
  group?: number
  /** Whether the prompts of a group are the same, token by token: not where rows were cut at their beginning. Default true. */
  samePrompt?: boolean
}

export interface Weights {
  trainable: TensorTree
  frozen: TensorTree
}

export interface SampleOptions {
  /** Outputs drawn per prompt. */
  num_generations?: number
  temperature?: number
  seed: number
  /** Take the most likely output (tokens: greedy; flows: ODE). */
  greedy?: boolean
  [option: string]: unknown
}

export interface Samples<Output> {
  /** Decoded outputs, B long; outputs i·G … i·G+G−1 belong to prompt i. */
  outputs: Output[]
  trajectories: Trajectories
}

/** Outputs and what they were drawn with. Every tensor's leading axis is B, so rows can be gathered. */
export interface Trajectories {
  /** What `score` takes. */
  outputs: TensorTree
  /** Sampling log-probs [B, T]. */
  logProbs: tf.Tensor
  /** 1 where a step counts [B, T]. */
  mask: tf.Tensor
  /** 1 for rows that ended by themselves, 0 for rows cut at the length bound [B]. */
  finished: tf.Tensor
  /** Where steps are normally distributed: the mean that each was drawn with [B, T, …]. */
  mean?: tf.Tensor
}

export interface Evaluation {
  logProbs: tf.Tensor
  mask: tf.Tensor
  entropy?: tf.Tensor
  /** Where steps are normally distributed, as those of a flow: mean [B, T, …] and deviation, which broadcasts to it. */
  mean?: tf.Tensor
  std?: tf.Tensor
  /** How far in noise level each step of a flow goes [B, T]. */
  stepSize?: tf.Tensor
}
