import * as tf from '@tensorflow/tfjs-core'

/** Which keys each query may attend to, as data. A key is seen if everything that is given allows it. */
export interface AttentionMask {
  /** Query i sees key j if j ≤ offset + i. */
  causal?: boolean
  /** With `causal`, a query also sees the keys behind it that are of its own block, unless that is 0: pictures among text. q [B, T],
   * kv [B, S], int32. */
  blocks?: { q: tf.Tensor; kv: tf.Tensor }
  /** With `causal`, only the last so many of these: j > offset + i − window. A number, or an int32 scalar. */
  window?: number | tf.Tensor
  /** Place of the first query among the keys: how many stand before it in a cache. A number, or an int32 scalar. Default 0. */
  offset?: number | tf.Tensor
  /** 0 for keys that nobody may see, such as padding [B, S]. */
  keyMask?: tf.Tensor
  /** A query sees the keys of its own segment: packed documents, windows of an image. q [B, T], kv [B, S], int32. */
  segments?: { q: tf.Tensor; kv: tf.Tensor }
}

/** Added to the scores of what is hidden; finite, so that a query that sees nothing gives no NaN. */
export const HIDDEN = -1e9

/** A number as an int32 scalar. */
export const int = (n: number | tf.Tensor): tf.Tensor => (typeof n === 'number' ? tf.scalar(n, 'int32') : n)

/** Places from, from + 1, … [n] int32. */
export const places = (n: number, from: number | tf.Tensor = 0): tf.Tensor =>
  tf.add(tf.range(0, n, 1, 'int32'), int(from))

/** Whether queries see keys; `keyMask`, `segments` and `blocks` are those of these queries and keys.
 * @param rows places of the queries among the keys [T] int32
 * @param columns places of the keys [S] int32
 * @returns bool, broadcasts to [B, T, S]; null if nothing is hidden */
export function visible(rows: tf.Tensor, columns: tf.Tensor, mask: AttentionMask): tf.Tensor | null {
  const { causal, window, keyMask, segments, blocks } = mask
  const [i, j] = [tf.reshape(rows, [1, -1, 1]), tf.reshape(columns, [1, 1, -1])]
  const same = ({ q, kv }: { q: tf.Tensor; kv: tf.Tensor }) => tf.equal(tf.expandDims(q, 2), tf.expandDims(kv, 1)) // [B, T, S]
  const isOf = (x: tf.Tensor) => tf.greater(tf.expandDims(x, 2), tf.scalar(0, 'int32')) // [B, T, 1]
  const before = causal && tf.lessEqual(j, i)
  return every([
    before && (blocks ? tf.logicalOr(before, tf.logicalAnd(same(blocks), isOf(blocks.q))) : before),
    window !== undefined && tf.greater(j, tf.sub(i, int(window))),
    keyMask && tf.cast(tf.expandDims(keyMask, 1), 'bool'),
    segments && same(segments),
  ])
}

/** The logical and of those conditions that are there. */
export function every(conditions: readonly (tf.Tensor | false | undefined)[]): tf.Tensor | null {
  const given = conditions.filter(c => c instanceof tf.Tensor)
  return given.length ? given.reduce((a, b) => tf.logicalAnd(a, b)) : null
}

/** What is added to scores [B, K, G, T, S]: 0, or {@link HIDDEN}.
 * @param seen bool, broadcasts to [B, T, S]
 * @returns f32, broadcasts to [B, 1, 1, T, S] */
export function hiding(seen: tf.Tensor): tf.Tensor {
  const [b, t, s] = seen.shape as [number, number, number]
  return tf.mul(tf.cast(tf.logicalNot(tf.reshape(seen, [b, 1, 1, t, s])), 'float32'), HIDDEN)
}
