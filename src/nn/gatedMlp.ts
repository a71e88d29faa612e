import * as tf from '@tensorflow/tfjs-core'
import { silu } from './activations.js'
import { linear, type Linear } from './linear.js'

export interface GatedMlp {
  gate_proj: Linear // [I, C]
  up_proj: Linear // [I, C]
  down_proj: Linear // [C, I]
}

/** down(activation(gate(x)) ⊙ up(x)).
 * @param x [..., C]
 * @param activation silu gives SwiGLU, gelu GeGLU
 * @source arXiv 2002.05202 */
export function gatedMlp(
  x: tf.Tensor,
  { gate_proj, up_proj, down_proj }: GatedMlp,
  activation: (x: tf.Tensor) => tf.Tensor = silu,
): tf.Tensor {
  const gate = linear(x, gate_proj) // [..., I]
  return linear(tf.mul(activation(gate), linear(x, up_proj)), down_proj)
}
