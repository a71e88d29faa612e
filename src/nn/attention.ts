import * as tf from '@tensorflow/tfjs-core'
import { astype, typeOf, wideMatMul } from '../xla/index.js'
import { hiding, places, visible, type AttentionMask } from './attentionMask.js'
import { blockwiseAttention } from './blockwiseAttention.js'

export interface AttentionOptions {
  /** Factor of the products q·k. Default 1/√D. */
  scale?: number
  /** Added to the scaled products [B or 1, H, T, S]. As large as the scores themselves, so that the dense form is used. */
  bias?: tf.Tensor
  /** Queries, and keys, that the blockwise form takes at a time; null asks for the dense form. Default: by size. */
  block?: number | null
}

/** The dense form serves up to so many scores a head, T·S; see docs/decisions/attention.md. */
const DENSE_BOUND = 512 ** 2
const BLOCK = 256

/** softmax(scale·q·kᵀ + bias)·v, where H query heads share K key heads (H = K·G). A query that sees no key gives 0, as
 * PyTorch's scaled_dot_product_attention does. Products are summed, and the softmax is computed, in f32.
 *
 * Short sequences go through a matrix of scores. For long ones the scores exist a block at a time, forward and in the
 * gradient: memory grows as T + S, and blocks of which nothing is seen are not computed. That form is differentiable once.
 * @param q [B, T, H, D]
 * @param k [B, K, S, D]
 * @param v [B, K, S, D]
 * @param mask left out: every query sees every key
 * @returns [B, T, H·D] in q's type
 * @throws Error if shapes do not go together
 * @source arXiv 1706.03762; grouped heads arXiv 2305.13245; blocks FlashAttention-2, arXiv 2307.08691 */
export function attention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: AttentionMask = {},
  options: AttentionOptions = {},
): tf.Tensor {
  check(q, k, v, mask, options)
  const { scale = q.shape[3]! ** -0.5, bias } = options
  const scores = q.shape[1]! * k.shape[2]!
  const { block = !bias && scores > DENSE_BOUND ? BLOCK : null } = options
  return block === null ? dense(q, k, v, mask, scale, bias) : blockwiseAttention(q, k, v, mask, scale, block)
}

/** The whole matrix of scores at once. */
function dense(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: AttentionMask,
  scale: number,
  bias: tf.Tensor | undefined,
): tf.Tensor {
  const [b, t, h, d] = q.shape as [number, number, number, number]
  const [, heads, s] = k.shape as [number, number, number]
  const group = h / heads
  const split = tf.transpose(tf.reshape(q, [b, t, heads, group, d]), [0, 2, 3, 1, 4]) // [B, K, G, T, D]
  const products = wideMatMul(tf.reshape(split, [b, heads, group * t, d]), k, false, true) // [B, K, G·T, S]
  let scores = tf.mul(tf.reshape(products, [b, heads, group, t, s]), scale) // [B, K, G, T, S]
  if (bias) scores = tf.add(scores, tf.reshape(bias, [bias.shape[0], heads, group, t, s]))
  const seen = visible(places(t, mask.offset), places(s), mask) // [B, T, S]
  if (seen) scores = tf.add(scores, hiding(seen))
  const weights = astype(tf.softmax(scores), typeOf(v))
  const mixed = tf.matMul(tf.reshape(weights, [b, heads, group * t, s]), v) // [B, K, G·T, D]
  const rows = tf.transpose(tf.reshape(mixed, [b, heads, group, t, d]), [0, 3, 1, 2, 4]) // [B, T, K, G, D]
  const out = astype(tf.reshape(rows, [b, t, h * d]), typeOf(q))
  return seen ? tf.mul(out, astype(tf.any(seen, 2, true), typeOf(q))) : out // 0 for a query that sees nothing
}

function check(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  { causal, window, keyMask, segments, blocks }: AttentionMask,
  { bias, block }: AttentionOptions,
): void {
  const [b, t, h, d] = q.shape as [number, number, number, number]
  const [, heads, s] = k.shape as [number, number, number]
  const expect = (what: string, x: tf.Tensor, ...shape: (number | string)[]) => {
    if (x.shape.join() !== shape.join())
      throw new Error(`attention: ${what} is [${x.shape.join(', ')}], needed [${shape.join(', ')}]`)
  }
  expect('q', q, b, t, h, d)
  expect('k', k, b, heads, s, d)
  expect('v', v, b, heads, s, d)
  if (keyMask) expect('keyMask', keyMask, b, s)
  if (segments) expect('segments.q', segments.q, b, t)
  if (segments) expect('segments.kv', segments.kv, b, s)
  if (blocks) expect('blocks.q', blocks.q, b, t)
  if (blocks) expect('blocks.kv', blocks.kv, b, s)
  if (bias) expect('bias', bias, bias.shape[0] === b ? b : 1, h, t, s)
  if (h % heads !== 0)
    throw new Error(`attention: ${h} query heads cannot share ${heads} key heads; needed a multiple of them`)
  if (window !== undefined && (!causal || (typeof window === 'number' && window < 1)))
    throw new Error('attention: a window needs causal: true, and at least 1 key')
  if (blocks && !causal) throw new Error('attention: blocks need causal: true; without, every key is seen anyway')
  if (bias && block) throw new Error('attention: the blockwise form takes no bias. Leave block out.')
}
