import * as tf from '@tensorflow/tfjs-core'

/** x / √(mean(x²) + eps) · w over the last axis.
 * @param x [..., C]
 * @param weight [C]
 * @source arXiv 1910.07467 */
export function rmsNorm(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor {
  const meanSquare = tf.mean(tf.square(x), -1, true) // [..., 1]
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(meanSquare, eps))), weight)
}
