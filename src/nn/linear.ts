import * as tf from '@tensorflow/tfjs-core'

/** A linear layer's weights as checkpoints store them, [out, in]; with a LoRA adapter (rank r) if its tensors are there. */
export interface Linear {
  weight: tf.Tensor // [out, in]
  bias?: tf.Tensor // [out]
  lora_A?: tf.Tensor // [r, in]
  lora_B?: tf.Tensor // [out, r]
  lora_scaling?: tf.Tensor // scalar
}

/** y = x·Wᵀ + b, and with an adapter + s·(x·Aᵀ)·Bᵀ.
 * @param x [..., in]
 * @returns [..., out]
 * @source LoRA, arXiv 2106.09685 */
export function linear(x: tf.Tensor, { weight, bias, lora_A, lora_B, lora_scaling }: Linear): tf.Tensor {
  const rows = tf.reshape(x, [-1, weight.shape[1]!]) // [N, in]
  let y: tf.Tensor = tf.matMul(rows, weight, false, true) // [N, out]
  if (bias) y = tf.add(y, bias)
  if (lora_A && lora_B && lora_scaling) {
    const down = tf.mul(tf.matMul(rows, lora_A, false, true), lora_scaling) // [N, r]
    y = tf.add(y, tf.matMul(down, lora_B, false, true)) // [N, out]
  }
  return tf.reshape(y, [...x.shape.slice(0, -1), weight.shape[0]])
}
