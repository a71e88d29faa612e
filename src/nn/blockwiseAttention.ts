import * as tf from '@tensorflow/tfjs-core'
import {
  astype,
  dynamicSlice,
  dynamicUpdateSlice,
  scan,
  tensorsOf,
  typeOf,
  whileLoop,
  wideMatMul,
  withTensors,
} from '../xla/index.js'
import { taping } from '../xla/record.js'
import { HIDDEN, every, hiding, int, places, visible, type AttentionMask } from './attentionMask.js'

/* Letters besides the project's: N blocks of Q queries, M blocks of J keys, R = G·Q queries that share a key head. */

/** Attention without the matrix of scores: for each block of queries a loop over the blocks of keys, with a running maximum
 * and sum of the softmax. The gradient computes the weights of a block anew, from the logarithm of that sum.
 * @param block Q and J, in places
 * @source FlashAttention-2, arXiv 2307.08691, algorithms 1 and 2; here the outer loop of both is over the queries */
export function blockwiseAttention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: AttentionMask,
  scale: number,
  block: number,
): tf.Tensor {
  const run = tf.customGrad((...args) => {
    const [q, k, v, save] = args as [tf.Tensor, tf.Tensor, tf.Tensor, tf.GradSaveFunc]
    const { out, logSum } = forward(q, k, v, blocksOf(q, k, mask, scale, block))
    save([q, k, v, out, logSum, ...tensorsOf(mask)])
    return {
      value: out,
      gradFunc: (dOut: tf.Tensor, saved: tf.Tensor[]) => {
        if (taping()) throw new Error('attention: the blockwise form is differentiated once.')
        const [q, k, v, out, logSum, ...given] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
        const blocks = blocksOf(q, k, withTensors(mask, given), scale, block)
        return backward(q, k, v, out, logSum, dOut, blocks)
      },
    }
  })
  return run(q, k, v)
}

/** @returns out [B, T, H·D], and the logarithm of each query's Σ exp(score) in blocks [N, B, K, R, 1] */
function forward(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, blocks: Blocks): { out: tf.Tensor; logSum: tf.Tensor } {
  const [keys, values] = [blocks.padded(k), blocks.padded(v)]
  const body = (none: tf.Tensor[], { q, i, from, to }: { q: tf.Tensor } & Span): [tf.Tensor[], Mixed] => {
    const one = [...q.shape.slice(0, -1), 1] // [B, K, R, 1]
    const step = ({ j, max, sum, mixed }: Softmax): Softmax => {
      const scores = blocks.scores(q, blocks.at(keys, j), i, j) // [B, K, R, J]
      const newMax = tf.maximum(max, tf.max(scores, -1, true))
      const fade = tf.exp(tf.sub(max, newMax))
      const weights = tf.exp(tf.sub(scores, newMax)) // not divided by their sum yet
      return {
        j: tf.add(j, int(1)),
        max: newMax,
        sum: tf.add(tf.mul(sum, fade), tf.sum(weights, -1, true)),
        mixed: tf.add(tf.mul(mixed, fade), product(weights, blocks.at(values, j))),
      }
    }
    const start = { j: from, max: tf.fill(one, HIDDEN), sum: tf.fill(one, 0), mixed: tf.fill(q.shape, 0) }
    const { max, sum, mixed } = whileLoop(({ j }) => tf.less(j, to), state => tf.tidy(() => step(state)), start) // prettier-ignore
    const seen = tf.greater(max, HIDDEN / 2)
    const whole = tf.maximum(sum, 1) // the largest adds 1; less if there was no block to see
    const out = astype(tf.mul(tf.div(mixed, whole), tf.cast(seen, 'float32')), typeOf(q))
    return [none, { out, logSum: tf.where(seen, tf.add(max, tf.log(whole)), tf.fill(one, -HIDDEN)) }] // so that weights are 0
  }
  const [, { out, logSum }] = scan(body, [], { q: blocks.split(q), ...blocks.spans })
  return { out: blocks.join(out), logSum }
}

type Span = { i: tf.Tensor; from: tf.Tensor; to: tf.Tensor }
type Softmax = { j: tf.Tensor; max: tf.Tensor; sum: tf.Tensor; mixed: tf.Tensor }
type Mixed = { out: tf.Tensor; logSum: tf.Tensor }

/** Gradients of q, k and v, with weights w = exp(score − logSum): dv = wᵀ·dout, dscore = w ∘ (dout·vᵀ − Σ dout∘out). */
function backward(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  out: tf.Tensor,
  logSum: tf.Tensor,
  dOut: tf.Tensor,
  blocks: Blocks,
): [dq: tf.Tensor, dk: tf.Tensor, dv: tf.Tensor] {
  const [keys, values] = [blocks.padded(k), blocks.padded(v)]
  const heads = (x: tf.Tensor) => tf.reshape(x, q.shape) // [B, T, H, D]
  const along = tf.sum(astype(tf.mul(heads(dOut), heads(out)), 'f32'), -1, true) // [B, T, H, 1]
  const xs = {
    q: blocks.split(q),
    dOut: blocks.split(heads(dOut)),
    along: blocks.split(along),
    logSum,
    ...blocks.spans,
  }
  const body = (carry: { dk: tf.Tensor; dv: tf.Tensor }, x: typeof xs): [typeof carry, tf.Tensor] => {
    const step = ({ j, dq, dk, dv }: { j: tf.Tensor; dq: tf.Tensor; dk: tf.Tensor; dv: tf.Tensor }) => {
      const key = blocks.at(keys, j)
      const weights = tf.exp(tf.sub(blocks.scores(x.q, key, x.i, j), x.logSum)) // [B, K, R, J]
      const dWeights = product(x.dOut, blocks.at(values, j), false, true)
      const dScores = tf.mul(tf.mul(weights, tf.sub(dWeights, x.along)), blocks.scale)
      return {
        j: tf.add(j, int(1)),
        dq: tf.add(dq, product(dScores, key)), // [B, K, R, D]
        dk: blocks.added(dk, product(dScores, x.q, true), j),
        dv: blocks.added(dv, product(weights, x.dOut, true), j),
      }
    }
    const start = { j: x.from, dq: tf.fill(x.q.shape, 0), ...carry }
    const { dq, dk, dv } = whileLoop(({ j }) => tf.less(j, x.to), state => tf.tidy(() => step(state)), start) // prettier-ignore
    return [{ dk, dv }, astype(dq, typeOf(q))]
  }
  const zeros = () => tf.fill(keys.shape, 0) // [B, K, M·J, D]
  const [{ dk, dv }, dq] = scan(body, { dk: zeros(), dv: zeros() }, xs)
  return [heads(blocks.join(dq)), astype(blocks.cropped(dk), typeOf(k)), astype(blocks.cropped(dv), typeOf(v))]
}

/** A product in the type of b, its sums in f32. */
const product = (a: tf.Tensor, b: tf.Tensor, transposeA = false, transposeB = false): tf.Tensor =>
  wideMatMul(astype(a, typeOf(b)), b, transposeA, transposeB)

type Blocks = ReturnType<typeof blocksOf>

/** How queries and keys are cut into blocks, and what is seen between two. Their ends are padded with what nobody sees. */
function blocksOf(q: tf.Tensor, k: tf.Tensor, mask: AttentionMask, scale: number, block: number) {
  const [b, t, h] = q.shape as [number, number, number]
  const [, heads, s, d] = k.shape as [number, number, number, number]
  const group = h / heads
  const [N, M] = [Math.ceil(t / block), Math.ceil(s / block)]
  const [Q, J] = [Math.ceil(t / N), Math.ceil(s / M)] // blocks of one size, with as little padding as can be
  const [allQueries, allKeys] = [places(N * Q, mask.offset), places(M * J)]
  type Pair = { q: tf.Tensor; kv: tf.Tensor }
  const longer = ({ q, kv }: Pair): Pair => ({ q: padded(q, 1, N * Q), kv: padded(kv, 1, M * J) })
  const whole: AttentionMask = {
    ...mask,
    keyMask: M * J > s || mask.keyMask ? padded(mask.keyMask ?? tf.fill([b, s], 1), 1, M * J) : undefined,
    segments: mask.segments && longer(mask.segments),
    blocks: mask.blocks && longer(mask.blocks),
  }
  const start = (block: tf.Tensor, size: number) => tf.mul(block, int(size))
  const cut = (x: tf.Tensor, i: tf.Tensor, size: number) => dynamicSlice(x, [0, start(i, size)], [b, size])

  return {
    scale,
    spans: spansOf(allQueries, allKeys, whole, N, M),
    /** [B, T, H, X] → [N, B, K, R, X] */
    split(x: tf.Tensor): tf.Tensor {
      const size = x.shape[3]!
      const parts = tf.reshape(padded(x, 1, N * Q), [b, N, Q, heads, group, size])
      return tf.reshape(tf.transpose(parts, [1, 0, 3, 4, 2, 5]), [N, b, heads, group * Q, size])
    },
    /** [N, B, K, R, D] → [B, T, H·D] */
    join(x: tf.Tensor): tf.Tensor {
      const parts = tf.transpose(tf.reshape(x, [N, b, heads, group, Q, d]), [1, 0, 4, 2, 3, 5])
      return tf.slice(tf.reshape(parts, [b, N * Q, h * d]), [0, 0, 0], [b, t, h * d])
    },
    /** [B, K, S, D] → [B, K, M·J, D], and back */
    padded: (x: tf.Tensor): tf.Tensor => padded(x, 2, M * J),
    cropped: (x: tf.Tensor): tf.Tensor => tf.slice(x, [0, 0, 0, 0], [b, heads, s, d]),
    /** Block j [B, K, J, D] of keys or values. */
    at: (x: tf.Tensor, j: tf.Tensor): tf.Tensor => dynamicSlice(x, [0, 0, start(j, J), 0], [b, heads, J, d]),
    /** x [B, K, M·J, D] with `part` added to block j. */
    added(x: tf.Tensor, part: tf.Tensor, j: tf.Tensor): tf.Tensor {
      const from = [0, 0, start(j, J), 0]
      return dynamicUpdateSlice(x, tf.add(dynamicSlice(x, from, part.shape), part), from)
    },
    /** Scores of block i of the queries and block j of the keys [B, K, R, J] f32. */
    scores(q: tf.Tensor, k: tf.Tensor, i: tf.Tensor, j: tf.Tensor): tf.Tensor {
      const scores = tf.mul(product(q, k, false, true), scale)
      const between = ({ q, kv }: Pair): Pair => ({ q: cut(q, i, Q), kv: cut(kv, j, J) })
      const seen = visible(dynamicSlice(allQueries, [start(i, Q)], [Q]), dynamicSlice(allKeys, [start(j, J)], [J]), {
        ...mask,
        keyMask: whole.keyMask && cut(whole.keyMask, j, J),
        segments: whole.segments && between(whole.segments),
        blocks: whole.blocks && between(whole.blocks),
      })
      if (!seen) return scores
      return tf.reshape(tf.add(tf.reshape(scores, [b, heads, group, Q, J]), hiding(seen)), scores.shape)
    },
  }
}

function padded(x: tf.Tensor, axis: number, size: number): tf.Tensor {
  const by = size - x.shape[axis]!
  return by === 0 ? x : tf.pad(x, x.shape.map((_, a): [number, number] => [0, a === axis ? by : 0])) // prettier-ignore
}

/** For each block of queries: its number, the first block of keys of which it may see something, and the one after the last. */
function spansOf(rows: tf.Tensor, columns: tf.Tensor, mask: AttentionMask, N: number, M: number): Span {
  const { causal, window, keyMask, segments, blocks } = mask
  /** The least and the greatest number of each block [..., n]. */
  const range = (x: tf.Tensor, n: number): [tf.Tensor, tf.Tensor] => {
    const parts = tf.reshape(x, [...x.shape.slice(0, -1), n, -1])
    return [tf.min(parts, -1), tf.max(parts, -1)]
  }
  const overlap = (q: tf.Tensor, kv: tf.Tensor, from: (x: tf.Tensor) => tf.Tensor = x => x): tf.Tensor => {
    const [[qMin], [kMin], [, qMax], [, kMax]] = [range(from(q), N), range(from(kv), M), range(q, N), range(kv, M)]
    const meet = tf.logicalAnd(
      tf.lessEqual(tf.expandDims(kMin, 1), tf.expandDims(qMax, 2)),
      tf.lessEqual(tf.expandDims(qMin, 2), tf.expandDims(kMax, 1)),
    ) // [B, N, M]
    return tf.any(meet, 0)
  }
  const [[first, last], [left, right]] = [range(rows, N), range(columns, M)]
  const above0 = (x: tf.Tensor) => tf.where(tf.greater(x, int(0)), x, int(2 ** 30)) // none is of block 0
  const before = tf.lessEqual(left, tf.expandDims(last, 1))
  const needed = every([
    tf.fill([N, M], 1, 'bool'),
    causal && (blocks ? tf.logicalOr(before, overlap(blocks.q, blocks.kv, above0)) : before),
    window !== undefined && tf.greater(right, tf.sub(tf.expandDims(first, 1), int(window))),
    keyMask && tf.any(tf.reshape(tf.cast(keyMask, 'bool'), [keyMask.shape[0], M, -1]), [0, 2]),
    segments && overlap(segments.q, segments.kv),
  ])! // [N, M]
  return {
    i: places(N),
    from: tf.min(tf.where(needed, places(M), int(M)), 1),
    to: tf.max(tf.where(needed, places(M, 1), int(0)), 1),
  }
}
