import * as tf from '@tensorflow/tfjs-core'
import { astype, typeOf } from '../xla/index.js'

/** x / √(mean(x²) + eps) · w over the last axis. The statistics, and the normalised values, are computed in f32.
 * @param x [..., C]
 * @param weight [C]
 * @returns [..., C] in x's type, if the weight's is not wider
 * @source arXiv 1910.07467; transformers, Qwen2RMSNorm */
export function rmsNorm(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor {
  const wide = astype(x, 'f32') // squares overflow in half, and their sum needs the digits
  const meanSquare = tf.mean(tf.square(wide), -1, true) // [..., 1]
  return tf.mul(astype(tf.mul(wide, tf.rsqrt(tf.add(meanSquare, eps))), typeOf(x)), weight)
}
