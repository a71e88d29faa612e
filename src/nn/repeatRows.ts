import * as tf from '@tensorflow/tfjs-core'

/** Repeats each row: a, b → a, a, b, b. The result is a tensor of its own, also for one time. */
export function repeatRows(x: tf.Tensor, times: number): tf.Tensor {
  const [n, ...rest] = x.shape as [number, ...number[]]
  const tiled = tf.tile(tf.reshape(x, [n, 1, -1]), [1, times, 1])
  return tf.reshape(tiled, [n * times, ...rest])
}
