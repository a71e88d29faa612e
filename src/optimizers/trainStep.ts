import * as tf from '@tensorflow/tfjs-core'
import type { Policy, Weights } from '../policies/policy.js'
import { astype, autocast, jit, random, scan, typeOf } from '../xla/index.js'
import { mapTensors, tensorsOf, type TensorTree } from '../xla/tree.js'
import { adamw } from './adamw.js'
import { quantizeMoments, restoreMoments } from './eightBit.js'
import { rateOf } from './partRates.js'
import type { ReferenceConfig } from './referenceConfig.js'
import type { TrainingConfig } from './trainingConfig.js'
import type { StepState } from './trainState.js'
import { valueAndGrad } from './valueAndGrad.js'

/** A batch's loss, sum / normalizer, so that parts of a batch add up exactly. Scalars. */
export interface LossTerms {
  sum: tf.Tensor
  normalizer: tf.Tensor
  /** Tokens (denoising steps) that the loss counts. */
  tokens: tf.Tensor
  metrics: Record<string, tf.Tensor>
}

/** Weights that a step reads and does not change. */
export interface FrozenWeights {
  policy: TensorTree
  /** Left out by methods that do without. */
  reference?: Weights | undefined
}

/** A method's loss on rows: what is computed in the outer call is constant to the gradient.
 * @param rows every tensor's leading axis is the row
 * @param scalars values that change from step to step, scalar tensors */
export type LossFunction<R extends TensorTree> = (
  frozen: FrozenWeights,
  rows: R,
  key: tf.Tensor,
  scalars: Record<string, tf.Tensor>,
) => (weights: Weights) => LossTerms

/** One compiled update: loss and gradients (accumulated over parts of the batch), AdamW, metrics. The state is donated. Where loss or gradient is
 * not finite, the new state is the old one, bit for bit, but for the random key: the step is skipped.
 * @param policy says which learning rate a weight has
 * @returns a function (state, frozen, rows, scalars with `learning_rate` and those of parts) → new state and scalar metrics with `loss`,
 * `grad_norm`, `tokens` and `skipped` (0 or 1)
 * @source optax, apply_if_finite */
export function trainStep<R extends TensorTree>(
  name: string,
  lossFunction: LossFunction<R>,
  config: StepConfig,
  policy: Pick<Policy, 'partOf'> = {},
) {
  const update = (
    state: StepState,
    frozen: FrozenWeights,
    rows: R,
    scalars: Record<string, tf.Tensor>,
  ): [StepState, Record<string, tf.Tensor>] => {
    const [next, key] = random.split(state.key) as [tf.Tensor, tf.Tensor]
    const gradients = (part: R, key: tf.Tensor): Part => {
      const lossOf = lossFunction(withReference(frozen, state), part, key, scalars)
      const { aux, grads } = valueAndGrad(trainable => {
        const { metrics, ...terms } = lossOf({ trainable, frozen: frozen.policy })
        // Metrics are means over the part: weighted like the loss, they add up to means over the batch.
        const weighted = mapTensors(metrics, t => tf.mul(t, terms.normalizer))
        return { value: terms.sum, aux: { ...terms, metrics: weighted } }
      }, state.trainable)
      return { ...aux, grads }
    }
    const parts = config.gradient_accumulation_steps
    const all = () => (parts === 1 ? gradients(rows, key) : summed(parts, state.trainable, rows, key, gradients))
    const { grads, ...terms } = config.bf16 ? autocast('bf16', all) : all()
    const mean = (t: tf.Tensor) => tf.div(t, tf.maximum(terms.normalizer, 1))
    const rate = (path: string) => scalars[rateOf(policy, path) ?? ''] ?? scalars['learning_rate']!
    const loss = mean(terms.sum)
    const accepts = (gradNorm: tf.Tensor) => tf.logicalAnd(tf.isFinite(loss), tf.isFinite(gradNorm))
    const eightBit = config.optim === 'adamw_8bit'
    const moments = eightBit ? restoreMoments(state) : state
    const optimizer = { ...config, learning_rate: rate, accepts }
    const updated = adamw(state.trainable, mapTensors(grads, mean), moments, optimizer)
    const { m, v, ema, reference } = state
    const accepted = accepts(updated.gradNorm)
    const stored = eightBit && chosen(accepted, quantizeMoments(updated.state), { m, v, step: state.step })
    const followers = chosen(accepted, following(state, updated.weights, config), {
      ...(ema && { ema }),
      ...(reference && { reference }),
    })
    const metrics = { tokens: terms.tokens, skipped: tf.logicalNot(accepted), ...mapTensors(terms.metrics, mean) }
    return [
      { trainable: updated.weights, ...followers, ...updated.state, ...stored, key: next },
      { loss, grad_norm: updated.gradNorm, ...metrics },
    ]
  }
  type Update = typeof update
  const tidied = (...args: Parameters<Update>) => tf.tidy(() => update(...args) as unknown as tf.TensorContainer)
  return jit(tidied as unknown as Update, { donate: [0], name })
}

type StepConfig = TrainingConfig & Partial<ReferenceConfig>

/** The reference that a state moves, in place of the given one. */
function withReference(frozen: FrozenWeights, { reference }: StepState): FrozenWeights {
  return reference ? { ...frozen, reference: { trainable: reference, frozen: frozen.policy } } : frozen
}

/** What follows the weights, after an update: their moving average and the reference, where there are such. */
function following({ ema, reference, step }: StepState, weights: TensorTree, config: StepConfig) {
  const before = tf.cast(step, 'float32') // updates before this one
  const decay = () => {
    const warm = tf.mul(tf.div(tf.add(before, 1), tf.add(before, 10)), tf.cast(tf.greater(before, 0), 'float32'))
    return tf.minimum(config.ema_decay, warm) // the first update sets the average
  }
  const due = () => tf.cast(tf.equal(tf.mod(tf.add(before, 1), config.ref_model_sync_steps!), 0), 'float32')
  return {
    ...(ema && { ema: moved(ema, weights, tf.sub(1, decay())) }),
    ...(reference && { reference: moved(reference, weights, tf.mul(due(), config.ref_model_mixup_alpha!)) }),
  }
}

/** One of two trees of the same structure, by a scalar condition. */
function chosen<T extends object>(condition: tf.Tensor, yes: T, no: T): T {
  const others = tensorsOf(no)
  let i = 0
  return mapTensors(yes, t => tf.where(condition, t, others[i++]!))
}

/** A tree moved towards another by a share of the way, computed in float32. */
function moved(from: TensorTree, to: TensorTree, share: tf.Tensor): TensorTree {
  const targets = tensorsOf(to)
  let i = 0
  return mapTensors(from, t => {
    const wide = astype(t, 'f32')
    return astype(tf.add(wide, tf.mul(share, tf.sub(astype(targets[i++]!, 'f32'), wide))), typeOf(t))
  })
}

interface Part extends LossTerms {
  /** Of the sum, not of the mean. */
  grads: TensorTree
}

/** Σ over equal parts of the rows, one part in memory at a time. */
function summed<R extends TensorTree>(
  parts: number,
  trainable: TensorTree,
  rows: R,
  key: tf.Tensor,
  f: (part: R, key: tf.Tensor) => Part,
): Part {
  const split = mapTensors(rows, t => tf.reshape(t, [parts, t.shape[0] / parts, ...t.shape.slice(1)]))
  const [grads, terms] = scan(
    (sum: TensorTree, x: { part: R; key: tf.Tensor }) => {
      const { grads, ...terms } = f(x.part, x.key)
      const added = tensorsOf(grads)
      let i = 0
      return [mapTensors(sum, t => tf.add(t, added[i++]!)), terms]
    },
    mapTensors(trainable, t => tf.zerosLike(t)),
    { part: split, key: tf.stack(random.split(key, parts)) },
  )
  return { ...mapTensors(terms, t => tf.sum(t, 0)), grads }
}
