import * as tf from '@tensorflow/tfjs-core'

/** Which key each query may attend to, in the two forms that attention uses. */
export interface Visibility {
  /** 1 or 0 [B, 1, 1, T, S]. */
  visible: tf.Tensor
  /** 0 or a large negative number, added to the scores [B, 1, 1, T, S]. */
  bias: tf.Tensor
}

const HIDDEN = 1e9 // finite, so that a query that sees nothing gives no NaN

/** @param visible 1 or 0 [B, T, S] float32 */
export function visibility(visible: tf.Tensor): Visibility {
  const [b, t, s] = visible.shape as [number, number, number]
  const wide = tf.reshape(visible, [b, 1, 1, t, s])
  return { visible: wide, bias: tf.mul(tf.sub(wide, 1), HIDDEN) }
}

/** Query i sees key j if j ≤ i and j is not padding.
 * @param attentionMask [B, T], 0 where there is padding
 * @returns 1 or 0 [B, T, T] float32 */
export function causalMask(attentionMask: tf.Tensor): tf.Tensor {
  const [b, t] = attentionMask.shape as [number, number]
  const at = tf.range(0, t, 1, 'int32')
  const causal = tf.cast(tf.lessEqual(tf.reshape(at, [1, 1, t]), tf.reshape(at, [1, t, 1])), 'float32') // [1, T, T]
  return tf.mul(causal, tf.reshape(tf.cast(attentionMask, 'float32'), [b, 1, t])) // [B, T, T]
}

/** softmax(q·kᵀ/√D)·v with H query heads sharing K key heads (H = K·G). A query that sees no key gives 0, as
 * PyTorch's scaled_dot_product_attention does.
 * @param q [B, T, H, D]
 * @param k [B, K, S, D]
 * @param v [B, K, S, D]
 * @returns [B, T, H·D]
 * @source arXiv 1706.03762; grouped heads arXiv 2305.13245 */
export function attention(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, { visible, bias }: Visibility): tf.Tensor {
  const [b, t, h, d] = q.shape as [number, number, number, number]
  const [, heads, s] = k.shape as [number, number, number]
  const group = h / heads
  const scaled = tf.reshape(tf.mul(q, d ** -0.5), [b, t, heads, group, d])
  const queries = tf.reshape(tf.transpose(scaled, [0, 2, 3, 1, 4]), [b, heads, group * t, d]) // [B, K, G·T, D]
  const scores = tf.reshape(tf.matMul(queries, k, false, true), [b, heads, group, t, s])
  const weights = tf.mul(tf.softmax(tf.add(scores, bias)), visible) // [B, K, G, T, S]
  const mixed = tf.matMul(tf.reshape(weights, [b, heads, group * t, s]), v) // [B, K, G·T, D]
  const rows = tf.transpose(tf.reshape(mixed, [b, heads, group, t, d]), [0, 3, 1, 2, 4]) // [B, T, K, G, D]
  return tf.reshape(rows, [b, t, h * d])
}
