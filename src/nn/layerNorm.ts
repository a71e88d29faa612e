import * as tf from '@tensorflow/tfjs-core'
import { astype, typeOf } from '../xla/index.js'

/** Scale and shift of a normalisation, [C] each. */
export interface Affine {
  weight?: tf.Tensor
  bias?: tf.Tensor
}

/** (x − mean) / √(variance + eps) · w + b over the last axis; statistics and normalised values in f32.
 * @param x [..., C]
 * @param affine leave out what the layer lacks
 * @returns [..., C] in x's type, if the weights' is not wider
 * @source arXiv 1607.06450 */
export function layerNorm(x: tf.Tensor, { weight, bias }: Affine, eps: number): tf.Tensor {
  const wide = astype(x, 'f32') // in half, the variance would lose what sets values apart
  const { mean, variance } = tf.moments(wide, -1, true) // [..., 1]
  let y: tf.Tensor = astype(tf.mul(tf.sub(wide, mean), tf.rsqrt(tf.add(variance, eps))), typeOf(x))
  if (weight) y = tf.mul(y, weight)
  return bias ? tf.add(y, bias) : y
}
