import * as tf from '@tensorflow/tfjs-core'

const BLOCK = 128

/** Draws a token a row with the probabilities softmax(logits), by inverting the distribution function at one uniform number: first
 * the block of 128 tokens, then the token in it. (Gumbel noise for each token, as random.categorical draws, costs several
 * times as much as the softmax.)
 * @param uniform that number of each row, in [0, 1) [B]
 * @param logits [B, V]
 * @returns int32 [B] */
export function drawTokens(uniform: tf.Tensor, logits: tf.Tensor): tf.Tensor {
  const [b, v] = logits.shape as [number, number]
  const blocks = Math.ceil(v / BLOCK)
  const likelihood = tf.exp(tf.sub(logits, tf.max(logits, 1, true))) // [B, V], of the likeliest token 1
  const grid = tf.reshape(tf.pad(likelihood, [[0, 0], [0, blocks * BLOCK - v]]), [b, blocks, BLOCK]) // prettier-ignore
  const sums = tf.cumsum(tf.sum(grid, 2), 1) // [B, N]
  const point = tf.mul(tf.reshape(uniform, [b, 1]), column(sums, blocks - 1)) // [B, 1]
  const block = firstAbove(sums, point) // [B, 1]
  const before = tf.sub(tf.gather(sums, block, 1, 1), tf.gather(tf.sum(grid, 2), block, 1, 1)) // [B, 1]
  const inside = tf.cumsum(tf.reshape(tf.gather(grid, block, 1, 1), [b, BLOCK]), 1) // [B, 128]
  const token = firstAbove(inside, tf.sub(point, before)) // [B, 1]
  return tf.reshape(tf.add(tf.mul(block, tf.scalar(BLOCK, 'int32')), token), [b])
}

const column = (x: tf.Tensor, i: number): tf.Tensor => tf.slice(x, [0, i], [x.shape[0], 1])

/** The first place where running sums exceed a point, which rounding must not push past the last of them.
 * @param sums [B, N], not falling
 * @param point [B, 1]
 * @returns int32 [B, 1] */
function firstAbove(sums: tf.Tensor, point: tf.Tensor): tf.Tensor {
  const below = tf.mul(column(sums, sums.shape[1]! - 1), 1 - 2 ** -23)
  return tf.sum(tf.cast(tf.lessEqual(sums, tf.minimum(point, below)), 'int32'), 1, true)
}
