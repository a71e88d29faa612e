import * as tf from '@tensorflow/tfjs-core'
import { astype, dequantizeNf4, isNf4, matMulNf4, shapeOfNf4, typeOf, wideMatMul, type Nf4 } from '../xla/index.js'

/** A linear layer's weights as checkpoints store them, [out, in]; with a LoRA adapter (rank r) if its tensors are there. */
export interface Linear {
  weight: tf.Tensor | Nf4 // [out, in]
  bias?: tf.Tensor // [out]
  lora_A?: tf.Tensor // [r, in]
  lora_B?: tf.Tensor // [out, r]
  lora_scaling?: tf.Tensor // scalar
  lora_magnitude_vector?: tf.Tensor // [out], with DoRA: how long the rows of W + s·B·A are made
}

/** y = x·Wᵀ + b, and with an adapter + s·(x·Aᵀ)·Bᵀ; with DoRA's magnitudes m, y = m/‖W + s·B·A‖ · x·(W + s·B·A)ᵀ + b. An adapter in another type than the layer's computes in the type that both
 * promote to, as in PEFT, and its output is rounded to the layer's.
 * @param x [..., in]
 * @param options.wide the result is f32, and not rounded to half precision: for logits
 * @returns [..., out]
 * @source LoRA, arXiv 2106.09685; DoRA, arXiv 2402.09353 */
export function linear(x: tf.Tensor, layer: Linear, options: { wide?: boolean } = {}): tf.Tensor {
  const { weight, bias, lora_A, lora_B, lora_scaling, lora_magnitude_vector } = layer
  const product = options.wide ? wideMatMul : tf.matMul
  const [out, size] = isNf4(weight) ? shapeOfNf4(weight) : (weight.shape as [number, number])
  const rows = tf.reshape(x, [-1, size]) // [N, in]
  let y: tf.Tensor = isNf4(weight) ? matMulNf4(rows, weight) : product(rows, weight, false, true) // [N, out]
  const type = typeOf(y)
  let added: tf.Tensor | undefined
  if (lora_A && lora_B && lora_scaling) {
    const down = tf.mul(tf.matMul(rows, lora_A, false, true), lora_scaling) // [N, r]
    added = tf.matMul(down, lora_B, false, true) // [N, out]
    if (lora_magnitude_vector) {
      const scale = doraScale(layer) // [out]
      y = tf.mul(y, scale)
      added = tf.mul(added, scale)
    }
  }
  if (bias) y = tf.add(y, bias)
  if (added) y = astype(tf.add(y, added), type)
  return tf.reshape(y, [...x.shape.slice(0, -1), out])
}

/** DoRA's m/‖W + s·B·A‖ [..., out], the length of each row; the gradient takes the lengths for constant, as section 4.3 of the paper and
 * PEFT do. */
export function doraScale({ weight, lora_A, lora_B, lora_scaling, lora_magnitude_vector }: Linear): tf.Tensor {
  const constant = tf.customGrad((a, b) => {
    const added = tf.mul(
      tf.matMul(b as tf.Tensor, a as tf.Tensor),
      tf.reshape(lora_scaling!, [...lora_scaling!.shape, 1, 1]),
    )
    const base = isNf4(weight) ? dequantizeNf4(weight) : weight
    return {
      value: rowLengths(tf.add(base, added)),
      gradFunc: () => [tf.zerosLike(a as tf.Tensor), tf.zerosLike(b as tf.Tensor)],
    }
  })
  return tf.div(lora_magnitude_vector!, constant(lora_A!, lora_B!))
}

/** ‖row‖ of matrices [..., out, in] → [..., out], float32. */
export const rowLengths = (matrix: tf.Tensor): tf.Tensor => tf.sqrt(tf.sum(tf.square(astype(matrix, 'f32')), -1))
