import * as tf from '@tensorflow/tfjs-core'
import { adamw } from '../../src/optimizers/adamw.js'
import { learningRate } from '../../src/optimizers/learningRate.js'
import { valueAndGrad } from '../../src/optimizers/valueAndGrad.js'
import { eachTensor, jit, mapTensors, tensorsOf, withTensors, type TensorTree } from '../../src/xla/index.js'
import { muon } from './muon.js'

const MUON_RATE = 0.02
const ADAM = { adam_beta1: 0.9, adam_beta2: 0.98, adam_epsilon: 1e-8, weight_decay: 0, max_grad_norm: 0 }
const ADAM_RATE = 3e-3
const WARMUP = 40

interface State {
  weights: TensorTree
  momentum: TensorTree
  m: TensorTree
  v: TensorTree
  step: tf.Tensor
}

/** Trains from random weights: Muon on matrices, stacks of them and filters that `matrix` names, AdamW on all others; gradients are clipped to norm 1,
 * rates rise over 40 steps and fall along a cosine.
 * @param weights taken over
 * @param loss pure, of weights and a batch */
export function pretrainer(
  weights: TensorTree,
  steps: number,
  loss: (weights: TensorTree, batch: TensorTree) => tf.Tensor,
  matrix: (path: string, t: tf.Tensor) => boolean,
): { update(batch: TensorTree): Promise<number>; weights(): TensorTree } {
  const zeros = () => mapTensors(weights, t => tf.zeros(t.shape))
  let state: State = { weights, momentum: zeros(), m: zeros(), v: zeros(), step: tf.scalar(0, 'int32') }
  const update = jit(
    (state: State, batch: TensorTree, muonRate: tf.Tensor, adamRate: tf.Tensor): [State, tf.Tensor] => {
      const { value, grads } = valueAndGrad(w => ({ value: loss(w, batch), aux: {} }), state.weights)
      return [next(state, grads, muonRate, adamRate, matrix), value]
    },
    { donate: [0], name: 'pretrain' },
  )
  let done = 0
  return {
    async update(batch) {
      const at = (rate: number) => tf.scalar(learningRate(done, steps, { learning_rate: rate, lr_scheduler_type: 'cosine', warmup_steps: WARMUP })) // prettier-ignore
      const rates = [at(MUON_RATE), at(ADAM_RATE)] as const
      const [after, value] = await update.async(state, batch, ...rates)
      state = after
      done++
      const [number] = await value.data()
      tf.dispose([value, ...rates])
      return number!
    },
    weights: () => state.weights,
  }
}

function next(
  state: State,
  grads: TensorTree,
  muonRate: tf.Tensor,
  adamRate: tf.Tensor,
  matrix: (path: string, t: tf.Tensor) => boolean,
): State {
  // prettier-ignore
  const norm = tf.sqrt(tf.addN(tensorsOf(grads).map(g => tf.sum(tf.square(g)))))
  const clipped = mapTensors(grads, g => tf.mul(g, tf.minimum(tf.div(1, tf.add(norm, 1e-6)), 1)))
  const rest = adamw(
    state.weights,
    clipped,
    { m: state.m, v: state.v, step: state.step },
    { ...ADAM, learning_rate: adamRate },
  )
  const [g, momentum, adam] = [clipped, state.momentum, rest.weights].map(tensorsOf) as [tf.Tensor[], tf.Tensor[], tf.Tensor[]] // prettier-ignore
  const weights: tf.Tensor[] = []
  const moments: tf.Tensor[] = []
  eachTensor(state.weights, (w, path) => {
    const i = weights.length
    if (matrix(path, w)) {
      const [stacked, gradient, moment] = [w, g[i]!, momentum[i]!].map(matrices) as [tf.Tensor, tf.Tensor, tf.Tensor]
      const moved = muon(stacked, gradient, moment, muonRate)
      weights.push(tf.reshape(moved.weight, w.shape))
      moments.push(tf.reshape(moved.momentum, w.shape))
    } else {
      weights.push(adam[i]!)
      moments.push(momentum[i]!)
    }
  })
  return { weights: withTensors(state.weights, weights), momentum: withTensors(state.momentum, moments), ...rest.state }
}

/** A stack of matrices [L, rows, columns]; a filter is one matrix of a row an output. */
const matrices = (t: tf.Tensor): tf.Tensor => (t.rank === 3 ? t : tf.reshape(t, [1, t.shape[0], t.size / t.shape[0]]))
