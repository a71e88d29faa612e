import * as tf from '@tensorflow/tfjs-core'
import type { Policy } from '../policies/policy.js'
import { copy, mapTensors, random, tensorsOf, type TensorTree } from '../xla/index.js'
import { adamwState, type AdamwState } from './adamw.js'

/** What a compiled update reads and replaces. */
export interface StepState extends AdamwState<TensorTree> {
  trainable: TensorTree
  /** Moving average of the weights, where `ema_decay` asks for one: what `policy.fork(run.state.ema)` starts from. */
  ema?: TensorTree
  /** Source of the randomness of later updates, int32 [2]. */
  key: tf.Tensor
}

/** All that a run needs to go on exactly as if it had not stopped: one serialisable tree. */
export interface TrainState extends StepState {
  /** Rows drawn from the data set so far, int32 scalar. */
  position: tf.Tensor
  /** Tokens (denoising steps) trained on so far, int32 scalar. */
  tokens: tf.Tensor
  /** What a method carries from step to step outside the weights: weights of rewards, moving averages; float32 [·] each. */
  live: { [name: string]: tf.Tensor }
}

/** The state before the first update. The policy's trainable weights become the run's.
 * @param averaged whether a moving average of the weights is kept
 * @throws Error if there are none */
export function stepState(policy: Policy, seed: number, averaged = false): StepState {
  const { trainable } = policy.weights
  if (tensorsOf(trainable).length === 0)
    throw new Error('train: all weights of the policy are frozen. Needed: some to train. Load it with an adapter.')
  const ema = averaged ? { ema: mapTensors(trainable, t => copy(t)) } : {}
  return { trainable, ...ema, ...adamwState(trainable), key: random.key(seed) }
}
