import * as tf from '@tensorflow/tfjs-core'
import type { Weights } from '../policies/policy.js'
import { astype, autocast, jit, random, scan, typeOf } from '../xla/index.js'
import { mapTensors, tensorsOf, type TensorTree } from '../xla/tree.js'
import { adamw } from './adamw.js'
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

/** One compiled update: loss and gradients (accumulated over parts of the batch), AdamW, metrics. The state is donated.
 * @returns a function (state, frozen, rows, scalars with `learning_rate`) → new state and scalar metrics with `loss`,
 * `grad_norm` and `tokens` */
export function trainStep<R extends TensorTree>(name: string, loss: LossFunction<R>, config: TrainingConfig) {
  const update = (
    state: StepState,
    frozen: FrozenWeights,
    rows: R,
    scalars: Record<string, tf.Tensor>,
  ): [StepState, Record<string, tf.Tensor>] => {
    const [next, key] = random.split(state.key) as [tf.Tensor, tf.Tensor]
    const gradients = (part: R, key: tf.Tensor): Part => {
      const lossOf = loss(frozen, part, key, scalars)
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
    const optimizer = { ...config, learning_rate: scalars['learning_rate']! }
    const updated = adamw(state.trainable, mapTensors(grads, mean), state, optimizer)
    return [
      { trainable: updated.weights, ...average(state, updated.weights, config), ...updated.state, key: next },
      { loss: mean(terms.sum), grad_norm: updated.gradNorm, tokens: terms.tokens, ...mapTensors(terms.metrics, mean) },
    ]
  }
  type Update = typeof update
  const tidied = (...args: Parameters<Update>) => tf.tidy(() => update(...args) as unknown as tf.TensorContainer)
  return jit(tidied as unknown as Update, { donate: [0], name })
}

/** The moving average after an update, if there is one. */
function average({ ema, step }: StepState, weights: TensorTree, { ema_decay }: TrainingConfig): { ema?: TensorTree } {
  if (!ema) return {}
  const t = tf.cast(step, 'float32') // updates before this one
  const warm = tf.mul(tf.div(tf.add(t, 1), tf.add(t, 10)), tf.cast(tf.greater(t, 0), 'float32')) // the first update sets it
  const decay = tf.minimum(ema_decay, warm)
  const now = tensorsOf(weights)
  let i = 0
  return {
    ema: mapTensors(ema, e => {
      const w = astype(now[i++]!, 'f32')
      const wide = astype(e, 'f32')
      return astype(tf.sub(wide, tf.mul(tf.sub(1, decay), tf.sub(wide, w))), typeOf(e))
    }),
  }
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
