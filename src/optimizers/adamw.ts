import * as tf from '@tensorflow/tfjs-core'
import { astype, typeOf } from '../xla/index.js'
import { eachTensor, mapTensors, tensorsOf, withTensors, type TensorTree } from '../xla/tree.js'

export interface AdamwConfig {
  /** A tensor where the rate changes from step to step inside a compiled program; a function where weights differ in it. */
  learning_rate: number | tf.Tensor | ((path: string) => tf.Tensor)
  adam_beta1: number
  adam_beta2: number
  adam_epsilon: number
  weight_decay: number
  /** Bound on the global norm of the gradients; 0 does not clip. */
  max_grad_norm: number
  /** Whether to step, a bool scalar, by the norm of the gradients; else all stays as it is, bit for bit. Default: always. */
  accepts?: (gradNorm: tf.Tensor) => tf.Tensor
}

export interface AdamwState<W extends TensorTree> {
  /** Running mean of the gradients. */
  m: W
  /** Running mean of their squares. */
  v: W
  /** Updates done, int32 scalar. */
  step: tf.Tensor
}

/** Zero moments for a tree of weights, on the devices where these are. */
export function adamwState<W extends TensorTree>(weights: W): AdamwState<W> {
  const zeros = () => mapTensors(weights, t => tf.tidy(() => astype(tf.zerosLike(t), 'f32')))
  return { m: zeros(), v: zeros(), step: tf.scalar(0, 'int32') }
}

/** One step of AdamW with decoupled weight decay, after clipping by the global norm. Pure: nothing is changed in place.
 * All is computed in float32, moments are kept in it, weights are rounded to their element type.
 *
 *   m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g²,  w ← w − η·λ·w − η·(m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε)
 *
 * @returns new weights and state, and `gradNorm`, the global norm before clipping
 * @source Loshchilov and Hutter, arXiv 1711.05101; clipping as torch.nn.utils.clip_grad_norm_ */
export function adamw<W extends TensorTree>(
  weights: W,
  grads: W,
  state: AdamwState<W>,
  config: AdamwConfig,
): { weights: W; state: AdamwState<W>; gradNorm: tf.Tensor } {
  const { learning_rate: rate, adam_beta1: beta1, adam_beta2: beta2, adam_epsilon: epsilon } = config
  const after = tf.add(state.step, tf.scalar(1, 'int32'))
  const t = tf.cast(after, 'float32')
  // 1 − βᵗ as −expm1(t·log β): near t = 0 the difference would lose half the digits of float32.
  const correction = (beta: number) => tf.neg(tf.expm1(tf.mul(t, Math.log(beta))))
  const [correction1, correction2] = [correction(beta1), correction(beta2)]
  const gradNorm = globalNorm(grads)
  const clip =
    config.max_grad_norm > 0
      ? tf.minimum(tf.div(config.max_grad_norm, tf.add(gradNorm, CLIP_EPSILON)), 1)
      : tf.scalar(1)

  const accepted = config.accepts?.(gradNorm)
  // Weights read the chosen moments: from others the compiler would compute them twice, and copy what is replaced.
  const chosen = (next: tf.Tensor, before: tf.Tensor) => (accepted ? tf.where(accepted, next, before) : next)
  const step = chosen(after, state.step)

  const [gs, ms, vs] = [tensorsOf(grads), tensorsOf(state.m), tensorsOf(state.v)]
  const next = { weights: [] as tf.Tensor[], m: [] as tf.Tensor[], v: [] as tf.Tensor[] }
  eachTensor(weights, (w, path) => {
    const i = next.weights.length
    const wide = astype(w, 'f32')
    const g = tf.mul(astype(gs[i]!, 'f32'), clip)
    const m = chosen(tf.add(tf.mul(ms[i]!, beta1), tf.mul(g, 1 - beta1)), ms[i]!)
    const v = chosen(tf.add(tf.mul(vs[i]!, beta2), tf.mul(tf.square(g), 1 - beta2)), vs[i]!)
    const direction = tf.div(tf.div(m, correction1), tf.add(tf.sqrt(tf.div(v, correction2)), epsilon))
    const decayed = decays(path) ? tf.add(direction, tf.mul(wide, config.weight_decay)) : direction
    const moved = tf.sub(wide, tf.mul(decayed, typeof rate === 'function' ? rate(path) : rate))
    next.weights.push(chosen(astype(moved, typeOf(w)), w))
    next.m.push(m)
    next.v.push(v)
  })
  return {
    weights: withTensors(weights, next.weights),
    state: { m: withTensors(state.m, next.m), v: withTensors(state.v, next.v), step },
    gradNorm,
  }
}

/** torch adds this to the norm before it divides. */
const CLIP_EPSILON = 1e-6

/** √Σx² over every element of every tensor of a tree. */
function globalNorm(tree: TensorTree): tf.Tensor {
  return tf.sqrt(tf.addN(tensorsOf(tree).map(t => tf.sum(tf.square(astype(t, 'f32'))))))
}

/** Whether weight decay applies to the weight at this path: to all but biases and norms.
 * @source transformers, Trainer.get_decay_parameter_names */
export function decays(path: string): boolean {
  return !/bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)/.test(path.toLowerCase())
}
