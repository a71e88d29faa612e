import * as tf from '@tensorflow/tfjs-core'
import { astype, typeOf, wideMatMul } from '../xla/index.js'
import { hiding, places, visible, type AttentionMask } from './attentionMask.js'

/** Keys [B, K, D, S], place by place so that products with them read along S, and values [B, K, S, D]. */
type Cache = { keys: tf.Tensor; values: tf.Tensor }

/** `attention` of one query a row where the G rows of a group have their first keys in common: those are read once for the group, as
 * a product with all its queries.
 * @param q [B, 1, H, D], B = N·G, rows of a group side by side
 * @param shared of each group [N, …], P places
 * @param own of each row [B, …], T places
 * @param mask over P + T places
 * @returns [B, 1, H·D] in q's type */
export function groupAttention(
  q: tf.Tensor,
  shared: Cache,
  own: Cache,
  mask: AttentionMask,
  { scale = q.shape[3]! ** -0.5 }: { scale?: number } = {},
): tf.Tensor {
  const [b, , h, d] = q.shape as [number, number, number, number]
  const [n, heads, , P] = shared.keys.shape as [number, number, number, number]
  const T = own.keys.shape[3]!
  const [G, per] = [b / n, h / heads] // rows of a group, query heads of a key head
  /** [B, K, per, X], and the rows of a group together [N, K, G·per, X]. */
  const together = (x: tf.Tensor, size: number) =>
    tf.reshape(tf.transpose(tf.reshape(x, [n, G, heads, per, size]), [0, 2, 1, 3, 4]), [n, heads, G * per, size])
  const apart = (x: tf.Tensor, size: number) =>
    tf.reshape(tf.transpose(tf.reshape(x, [n, heads, G, per, size]), [0, 2, 1, 3, 4]), [b, heads, per, size])

  const queries = tf.reshape(q, [b, heads, per, d])
  const first = apart(wideMatMul(together(queries, d), shared.keys), P) // [B, K, per, P]
  const scores = tf.mul(tf.concat([first, wideMatMul(queries, own.keys)], 3), scale) // [B, K, per, P + T]
  const seen = visible(places(1, mask.offset), places(P + T), mask) // [B, 1, P + T]
  const hidden = seen ? tf.add(scores, tf.squeeze(hiding(seen), [1])) : scores
  const weights = astype(tf.softmax(hidden), typeOf(own.values))
  const [common, rest] = tf.split(weights, [P, T], 3) as [tf.Tensor, tf.Tensor]
  const mixed = tf.add(apart(wideMatMul(together(common, P), shared.values), d), wideMatMul(rest, own.values)) // [B, K, per, D]
  return astype(tf.reshape(mixed, [b, 1, h * d]), typeOf(q))
}
