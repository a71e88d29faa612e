import * as tf from '@tensorflow/tfjs-core'

/** Repeats each slice of an axis, by default each row: a, b → a, a, b, b. The result is a tensor of its own, also for one time. */
export function repeatRows(x: tf.Tensor, times: number, axis = 0): tf.Tensor {
  const [before, n, after] = [x.shape.slice(0, axis), x.shape[axis]!, x.shape.slice(axis + 1)]
  const size = after.reduce((a, d) => a * d, 1)
  const lead = before.reduce((a, d) => a * d, 1)
  const tiled = tf.tile(tf.reshape(x, [lead * n, 1, size]), [1, times, 1])
  return tf.reshape(tiled, [...before, n * times, ...after])
}
