import * as tf from '@tensorflow/tfjs-core'
import type { CausalModel, Features, KeyValueCache } from '../models/index.js'
import { repeatRows, tokenLogProbs } from '../nn/index.js'
import {
  astype,
  disposeTree,
  dynamicUpdateSlice,
  jit,
  random,
  typeOf,
  unstack,
  whileLoop,
  type TensorTree,
} from '../xla/index.js'
import { drawTokens } from './drawTokens.js'
import { keepLikely } from './keepLikely.js'

/** Left-padded prompts. */
export type Prompts = {
  input_ids: tf.Tensor // [N, P] int32
  attention_mask: tf.Tensor // [N, P] int32
  /** Where they do not simply count: [N, A, P] int32. */
  position_ids?: tf.Tensor
  /** Position of the first new token [N] int32, at most the prompt's length. Default: that. */
  next?: tf.Tensor
  features?: Features
}

/** What may change from call to call without another program. */
export type Draw = {
  temperature: tf.Tensor // scalar
  top_p: tf.Tensor // scalar
  top_k: tf.Tensor // int32 scalar
  min_p: tf.Tensor // scalar
  repetition_penalty: tf.Tensor // scalar
  key: tf.Tensor // int32 [2]
}

/** What a program is made for. */
export type Plan = {
  /** Completions per prompt, G. */
  generations: number
  /** Longest completion, T. */
  length: number
  /** Take the likeliest token. */
  greedy: boolean
  /** Whether top_k, top_p or min_p hides tokens. */
  filtered: boolean
  /** Whether tokens that stand in the prompt or the completion are made less likely. */
  penalized: boolean
  /** Tokens that end a completion. */
  stop: number[]
  /** Stands after the end. */
  pad: number
}

/** Completions of N prompts, B = N·G rows, those of a prompt side by side. */
export type Drawn = {
  tokens: tf.Tensor // [B, T] int32
  /** Under softmax(logits / temperature) over all tokens, whatever is hidden or made less likely for the draw; 0 after the end. */
  logProbs: tf.Tensor // [B, T]
  /** 1 up to the token that ends the completion, that one included. */
  mask: tf.Tensor // [B, T] float32
  /** 1 if the completion ended by itself. */
  finished: tf.Tensor // [B] float32
}

/** Makes a model's sampling program: the prompts are read once, all generations attend to their one cache, and one
 * loop draws a token a row until every row has ended. The noise of row b at step t depends on (key, t, b) alone.
 *
 * One compiled program for each shape of the prompts and each plan. */
export function generate(model: CausalModel): Generate {
  const program = jit(
    (weights: TensorTree, layers: readonly TensorTree[], prompts: Prompts, draw: Draw, plan: Plan) =>
      tf.tidy(() => run(model, weights, layers, prompts, draw, plan)),
    { name: 'generate' },
  )
  return async (weights, prompts, draw, plan) => {
    const layers = await unstack(model.layersOf(weights), model.layers)
    try {
      return await program.async(weights, layers, prompts, draw, plan)
    } finally {
      disposeTree(layers)
    }
  }
}

export type Generate = (weights: TensorTree, prompts: Prompts, draw: Draw, plan: Plan) => Promise<Drawn>

type State = Drawn & {
  step: tf.Tensor // int32 scalar
  logits: tf.Tensor // [B, V], of the next token
  caches: KeyValueCache[] // a layer; T places
  used: tf.Tensor // [B, V], 1 for tokens of the prompt and the completion so far; [B, 0] where none are penalized
}

function run(
  model: CausalModel,
  weights: TensorTree,
  layers: readonly TensorTree[],
  prompts: Prompts,
  draw: Draw,
  plan: Plan,
): Drawn {
  const { generations: G, length: T } = plan
  const [n, P] = prompts.input_ids.shape as [number, number]
  const B = n * G
  const promptMask = tf.cast(prompts.attention_mask, 'int32') // [N, P]
  const lengths = tf.sum(promptMask, 1) // [N]

  const { next, ...input } = prompts
  const { hidden, cache } = model.prefill(weights, { position_ids: positionsOf(promptMask), ...input })
  const last = tf.squeeze(tf.slice(hidden, [0, P - 1, 0], [n, 1, hidden.shape[2]!]), [1]) // [N, C]
  const seen = tf.cast(tf.concat([repeatRows(promptMask, G), tf.zeros([B, T], 'int32')], 1), 'float32') // [B, P + T]
  const starts = repeatRows(next ?? lengths, G) // [B], position of the first new token
  const places = tf.range(0, P + T, 1, 'int32') // [P + T]
  const values = tf.unstack(cache.values) // L × [N, K, P, D]
  const promptCaches = tf.unstack(cache.keys).map((keys, l) => ({ keys, values: values[l]! }))
  const [, K, , D] = values[0]!.shape as [number, number, number, number]
  const empty = (shape: number[]) => astype(tf.zeros(shape), typeOf(cache.keys))

  const final = whileLoop<State>(
    ({ step, finished }) => tf.logicalAnd(tf.less(step, T), tf.less(tf.min(finished), 1)),
    ({ step, logits, caches, finished, used, ...out }) => {
      const alive = tf.sub(1, finished) // [B]
      const allowed = plan.penalized ? penalized(logits, used, draw.repetition_penalty) : logits
      const token = tf.where(tf.greater(alive, 0), choose(allowed, step, draw, plan), tf.scalar(plan.pad, 'int32')) // [B]
      const logProbs = tokenLogProbs(tf.div(logits, draw.temperature), token) // [B]
      const write = (row: tf.Tensor, x: tf.Tensor) => dynamicUpdateSlice(row, tf.expandDims(x, 1), [0, step])

      const at = tf.add(step, tf.scalar(P, 'int32'))
      const fresh = tf.logicalAnd(tf.greaterEqual(places, P), tf.lessEqual(places, at)) // [P + T]
      const decoded = model.decode(weights, layers, {
        input_ids: tf.expandDims(token, 1),
        position_ids: tf.expandDims(tf.add(starts, step), 1),
        visible: tf.maximum(seen, tf.cast(fresh, 'float32')), // [B, P + T]
        prompts: promptCaches,
        caches,
        at: step,
      })
      return {
        step: tf.add(step, tf.scalar(1, 'int32')),
        logits: model.head(weights, tf.squeeze(decoded.hidden, [1])), // [B, V]
        caches: decoded.caches,
        used: plan.penalized ? tf.maximum(used, tf.oneHot(token, model.vocabulary)) : used,
        tokens: write(out.tokens, token),
        logProbs: write(out.logProbs, tf.mul(logProbs, alive)),
        mask: write(out.mask, alive),
        finished: tf.maximum(finished, isOneOf(token, plan.stop)),
      }
    },
    {
      step: tf.scalar(0, 'int32'),
      logits: repeatRows(model.head(weights, last), G), // [B, V]
      caches: promptCaches.map(() => ({ keys: empty([B, K, D, T]), values: empty([B, K, T, D]) })),
      used: plan.penalized
        ? repeatRows(tokensOf(prompts.input_ids, promptMask, model.vocabulary), G)
        : tf.zeros([B, 0]),
      tokens: tf.fill([B, T], plan.pad, 'int32'),
      logProbs: tf.zeros([B, T]),
      mask: tf.zeros([B, T]),
      finished: tf.zeros([B]),
    },
  )
  const { tokens, logProbs, mask, finished } = final
  return { tokens, logProbs, mask, finished }
}

/** The next token of each row [B] int32. */
function choose(logits: tf.Tensor, step: tf.Tensor, draw: Draw, plan: Plan): tf.Tensor {
  if (plan.greedy) return tf.argMax(logits, -1)
  const scaled = tf.div(logits, draw.temperature) // [B, V]
  const likely = plan.filtered ? keepLikely(scaled, draw) : scaled
  return drawTokens(random.foldIn(draw.key, step), likely)
}

/** Logits of tokens that were used, divided by the penalty where they are positive, multiplied where not [B, V].
 * @source transformers' RepetitionPenaltyLogitsProcessor; CTRL, arXiv 1909.05858 */
function penalized(logits: tf.Tensor, used: tf.Tensor, penalty: tf.Tensor): tf.Tensor {
  const less = tf.where(tf.less(logits, 0), tf.mul(logits, penalty), tf.div(logits, penalty))
  return tf.where(tf.greater(used, 0), less, logits)
}

/** 1 for each token that a row holds [N, V]. */
function tokensOf(ids: tf.Tensor, mask: tf.Tensor, vocabulary: number): tf.Tensor {
  const [n, P] = ids.shape as [number, number]
  const rows = tf.tile(tf.expandDims(tf.range(0, n, 1, 'int32'), 1), [1, P])
  const places = tf.stack([tf.reshape(rows, [-1]), tf.reshape(ids, [-1])], 1) // [N·P, 2]
  const counts = tf.scatterND(places, tf.reshape(tf.cast(mask, 'float32'), [-1]), [n, vocabulary])
  return tf.minimum(counts, 1)
}

/** Positions that do not count padding: 0 for the first real token.
 * @param attentionMask [B, T] int32
 * @returns [B, T] int32
 * @source transformers' generate */
export function positionsOf(attentionMask: tf.Tensor): tf.Tensor {
  return tf.maximum(tf.sub(tf.cumsum(attentionMask, 1), tf.scalar(1, 'int32')), tf.scalar(0, 'int32'))
}

const isOneOf = (token: tf.Tensor, ids: readonly number[]): tf.Tensor =>
  tf.cast(
    ids.map(id => tf.equal(token, tf.scalar(id, 'int32'))).reduce((a, b) => tf.logicalOr(a, b)),
    'float32',
  )
