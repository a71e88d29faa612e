import * as tf from '@tensorflow/tfjs-core'
import { astype, isNf4, matMulNf4, shapeOfNf4, typeOf, wideMatMul, type Nf4 } from '../xla/index.js'

/** A linear layer's weights as checkpoints store them, [out, in]; with a LoRA adapter (rank r) if its tensors are there. */
export interface Linear {
  weight: tf.Tensor | Nf4 // [out, in]
  bias?: tf.Tensor // [out]
  lora_A?: tf.Tensor // [r, in]
  lora_B?: tf.Tensor // [out, r]
  lora_scaling?: tf.Tensor // scalar
}

/** y = x·Wᵀ + b, and with an adapter + s·(x·Aᵀ)·Bᵀ. An adapter in another type than the layer's computes in the type that both
 * promote to, as in PEFT, and its output is rounded to the layer's.
 * @param x [..., in]
 * @param options.wide the result is f32, and not rounded to half precision: for logits
 * @returns [..., out]
 * @source LoRA, arXiv 2106.09685 */
export function linear(x: tf.Tensor, layer: Linear, options: { wide?: boolean } = {}): tf.Tensor {
  const { weight, bias, lora_A, lora_B, lora_scaling } = layer
  const product = options.wide ? wideMatMul : tf.matMul
  const [out, size] = isNf4(weight) ? shapeOfNf4(weight) : (weight.shape as [number, number])
  const rows = tf.reshape(x, [-1, size]) // [N, in]
  let y: tf.Tensor = isNf4(weight) ? matMulNf4(rows, weight) : product(rows, weight, false, true) // [N, out]
  if (bias) y = tf.add(y, bias)
  if (lora_A && lora_B && lora_scaling) {
    const down = tf.mul(tf.matMul(rows, lora_A, false, true), lora_scaling) // [N, r]
    y = astype(tf.add(y, tf.matMul(down, lora_B, false, true)), typeOf(y)) // [N, out]
  }
  return tf.reshape(y, [...x.shape.slice(0, -1), out])
}
