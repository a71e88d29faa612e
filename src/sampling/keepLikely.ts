import * as tf from '@tensorflow/tfjs-core'

/** Hides all but the likely tokens: the `top_k` with the highest logits, then of these the fewest whose probabilities
 * sum to at least `top_p`, then those at least `min_p` times as likely as the likeliest. Tokens that tie with the last kept one are kept too.
 * @param logits [B, V], temperature applied
 * @param keep.top_k int32 scalar; 0 keeps all
 * @param keep.top_p scalar in (0, 1]
 * @param keep.min_p scalar in [0, 1]
 * @returns [B, V], −1e9 where hidden
 * @source transformers' TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper; arXiv 1904.09751, 2407.01082 */
export function keepLikely(
  logits: tf.Tensor,
  { top_k, top_p, min_p }: { top_k: tf.Tensor; top_p: tf.Tensor; min_p: tf.Tensor },
): tf.Tensor {
  const size = logits.shape[1]!
  const { values } = tf.topk(logits, size) // [B, V], descending
  const k = tf.where(tf.equal(top_k, 0), tf.scalar(size, 'int32'), top_k)
  const ranked = tf.lessEqual(tf.range(1, size + 1, 1, 'int32'), k) // [V]
  const kept = tf.where(ranked, values, tf.scalar(HIDDEN)) // [B, V]
  const p = tf.softmax(kept)
  const before = tf.cumsum(p, 1, true) // [B, V], the mass of likelier tokens
  const inside = tf.logicalAnd(tf.less(before, top_p), ranked)
  const least = tf.min(tf.where(inside, values, tf.scalar(-HIDDEN)), 1, true) // [B, 1], the last kept logit
  const enough = tf.add(tf.max(logits, 1, true), tf.log(tf.maximum(min_p, 1e-30))) // [B, 1]
  return tf.where(tf.greaterEqual(logits, tf.maximum(least, enough)), logits, tf.scalar(HIDDEN))
}

const HIDDEN = -1e9
