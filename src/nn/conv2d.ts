import * as tf from '@tensorflow/tfjs-core'

/** A convolution's weights as PyTorch's checkpoints store them. */
export interface Conv2d {
  weight: tf.Tensor // [out, in, height, width]
  bias?: tf.Tensor // [out]
}

export interface Conv2dOptions {
  /** Default 1. */
  stride?: number
  /** Zeros before and after the image, the same for rows and columns. Default none. */
  padding?: [before: number, after: number]
}

/** Cross-correlation over images with channels last, plus a bias. Places at the end that a stride does not reach are left out, as
 * in PyTorch.
 * @param x [B, H, W, in]
 * @returns [B, H', W', out] */
export function conv2d(x: tf.Tensor, { weight, bias }: Conv2d, options: Conv2dOptions = {}): tf.Tensor {
  const { stride = 1, padding = [0, 0] } = options
  const filter = tf.transpose(weight, [2, 3, 1, 0]) // [height, width, in, out]
  const y = tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, stride, [[0, 0], padding, padding, [0, 0]])
  return bias ? tf.add(y, bias) : y
}
