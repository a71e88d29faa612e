import * as tf from '@tensorflow/tfjs-core'
import type { Policy } from '../policies/policy.js'
import { copy, mapTensors, random, tensorsOf, type TensorTree } from '../xla/index.js'
import { adamwState, type AdamwState } from './adamw.js'
import { quantizeZeros } from './eightBit.js'

/** What a compiled update reads and replaces. */
export interface StepState extends AdamwState<TensorTree> {
  trainable: TensorTree
  /** Moving average of the weights, where `ema_decay` asks for one: what `policy.fork(run.state.ema)` starts from. */
  ema?: TensorTree
  /** Weights of the reference, where `sync_ref_model` moves them. */
  reference?: TensorTree
  /** Source of the randomness of later updates, int32 [2]. */
  key: tf.Tensor
}

/** All that a run needs to go on exactly as if it had not stopped: one serialisable tree. */
export interface TrainState extends StepState {
  /** Rows drawn from the data set so far, int32 scalar. */
  position: tf.Tensor
  /** Tokens (denoising steps) trained on so far, int32 scalar. */
  tokens: tf.Tensor
  /** Steps that were skipped, of all so far and in a row now, int32 [2]: `step` counts the others. */
  skipped: tf.Tensor
  /** What a method carries from step to step outside the weights: weights of rewards, moving averages; float32 [·] each. */
  live: { [name: string]: tf.Tensor }
}

/** The state before the first update. The policy's trainable weights become the run's.
 * @param kept whether a moving average of the weights is kept, whether the reference moves, whether moments are stored in 8 bits
 * @throws Error if there are none, or a reference that moves has no weights of its own */
export function stepState(
  policy: Policy,
  seed: number,
  kept: { ema?: boolean; reference?: boolean; eightBit?: boolean } = {},
): StepState {
  const { trainable } = policy.weights
  if (tensorsOf(trainable).length === 0)
    throw new Error('train: all weights of the policy are frozen. Needed: some to train. Load it with an adapter.')
  const ema = kept.ema ? { ema: copied(trainable) } : {}
  const reference = kept.reference ? { reference: copied(policy.reference.trainable) } : {}
  if (reference.reference && tensorsOf(reference.reference).length === 0)
    throw new Error(
      'train: sync_ref_model moves the reference towards the weights in training, but that of an adapter is the frozen model. ' +
        'Leave it out, or train all weights.',
    )
  const moments = tf.tidy(() => {
    const zeros = adamwState(trainable)
    return (kept.eightBit ? quantizeZeros(zeros) : zeros) as unknown as tf.TensorContainer
  }) as unknown as AdamwState<TensorTree>
  return { trainable, ...ema, ...reference, ...moments, key: random.key(seed) }
}

const copied = (tree: TensorTree): TensorTree => mapTensors(tree, t => copy(t))
