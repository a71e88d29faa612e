import * as tf from '@tensorflow/tfjs-core'
import { astype, typeOf } from '../xla/index.js'

/** (x − mean) / √(variance + eps) · w + b, the statistics those of a group of channels over all places, in f32.
 * @param x [B, ..., C], channels last
 * @param affine [C] each
 * @param groups how many of C/groups neighbouring channels
 * @returns [B, ..., C] in x's type, if the weights' is not wider
 * @source arXiv 1803.08494 */
export function groupNorm(
  x: tf.Tensor,
  { weight, bias }: { weight: tf.Tensor; bias: tf.Tensor },
  groups: number,
  eps: number,
): tf.Tensor {
  const size = x.shape.at(-1)!
  const grouped = tf.reshape(astype(x, 'f32'), [x.shape[0], -1, groups, size / groups]) // [B, N, G, C/G]
  const { mean, variance } = tf.moments(grouped, [1, 3], true) // [B, 1, G, 1]
  const normed = tf.mul(tf.sub(grouped, mean), tf.rsqrt(tf.add(variance, eps)))
  return tf.add(tf.mul(astype(tf.reshape(normed, x.shape), typeOf(x)), weight), bias)
}
