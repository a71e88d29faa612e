import * as tf from '@tensorflow/tfjs-core'
import type { CausalModel, Features, KeyValueCache } from '../models/index.js'
import { repeatRows, tokenLogProbs } from '../nn/index.js'
import {
  astype,
  disposeTree,
  dynamicUpdateSlice,
  jit,
  mapTensors,
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

/** Makes a model's sampling program: the prompts are read once, all generations attend to their one cache, and a loop draws a token a row
 * until every row has ended. When half of many rows have ended, the others go on in a loop of half the size. The noise of row b at step t
 * depends on (key, t, b) alone.
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

/** Rows that are drawn together, and what does not change while they are. */
type Rows = {
  /** Which of all rows each is [B] int32. */
  number: tf.Tensor
  /** 1 for the prompt's tokens [B, P + T]. */
  seen: tf.Tensor
  /** Position of the first new token [B] int32. */
  starts: tf.Tensor
  /** A layer [N, …]: each is read by B / N rows side by side. */
  prompts: KeyValueCache[]
}

/** So few rows stay together until all have ended, and rows are halved so often at most: each size is a loop of its own to compile. */
const FEW = 64
const HALVINGS = 2

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
  const all = n * G
  const promptMask = tf.cast(prompts.attention_mask, 'int32') // [N, P]
  const lengths = tf.sum(promptMask, 1) // [N]

  const { next, ...input } = prompts
  const { hidden, cache } = model.prefill(weights, { position_ids: positionsOf(promptMask), ...input })
  const last = tf.squeeze(tf.slice(hidden, [0, P - 1, 0], [n, 1, hidden.shape[2]!]), [1]) // [N, C]
  const places = tf.range(0, P + T, 1, 'int32') // [P + T]
  const values = tf.unstack(cache.values) // L × [N, K, P, D]
  const promptCaches = tf.unstack(cache.keys).map((keys, l) => ({ keys, values: values[l]! }))
  const [, K, , D] = values[0]!.shape as [number, number, number, number]
  const empty = (shape: number[]) => astype(tf.zeros(shape), typeOf(cache.keys))

  /** Draws until all rows have ended. */
  function drawn(rows: Rows, from: State, halvings = HALVINGS): Drawn {
    const [size, half] = [rows.number.shape[0], Math.ceil(rows.number.shape[0] / 2)]
    const enough = size > FEW && halvings > 0 ? half : 0 // rows that have not ended, of which the loop is left
    const state = whileLoop<State>(
      ({ step, finished }) =>
        tf.logicalAnd(tf.less(step, T), tf.greater(tf.sum(tf.sub(1, finished)), tf.scalar(enough))),
      state => stepped(rows, state),
      from,
    )
    const { step, tokens, logProbs, mask, finished, ...rest } = state
    const out = { tokens, logProbs, mask, finished }
    if (enough === 0) return out

    const keys = tf.sub(tf.mul(tf.sub(1, finished), size), tf.range(0, size)) // those that have not ended first
    const order = tf.topk(keys, size).indices // [B]
    const [going, ended] = tf.split(order, [half, size - half]) as [tf.Tensor, tf.Tensor]
    const taken = <S>(tree: S, which: tf.Tensor): S => mapTensors(tree as TensorTree, t => tf.gather(t, which)) as S
    const { prompts, ...own } = rows
    const promptOf = tf.cast(tf.floorDiv(going, tf.scalar(size / prompts[0]!.keys.shape[0], 'int32')), 'int32')
    const finish = drawn(
      { ...taken(own, going), prompts: taken(prompts, promptOf) },
      { step, ...taken({ ...out, ...rest }, going) },
      halvings - 1,
    )
    const back = tf.topk(tf.neg(tf.cast(order, 'float32')), size).indices // where each row lies in the new order
    const whole = (name: keyof Drawn) => tf.gather(tf.concat([finish[name], tf.gather(out[name], ended)]), back)
    return { tokens: whole('tokens'), logProbs: whole('logProbs'), mask: whole('mask'), finished: whole('finished') }
  }

  function stepped(rows: Rows, { step, logits, caches, finished, used, ...out }: State): State {
    const alive = tf.sub(1, finished) // [B]
    const allowed = plan.penalized ? penalized(logits, used, draw.repetition_penalty) : logits
    const noise = () => tf.gather(random.uniform(random.foldIn(draw.key, step), [all]), rows.number) // [B]
    const token = tf.where(tf.greater(alive, 0), choose(allowed, noise, draw, plan), tf.scalar(plan.pad, 'int32')) // [B]
    const logProbs = tokenLogProbs(tf.div(logits, draw.temperature), token) // [B]
    const write = (row: tf.Tensor, x: tf.Tensor) => dynamicUpdateSlice(row, tf.expandDims(x, 1), [0, step])

    const at = tf.add(step, tf.scalar(P, 'int32'))
    const fresh = tf.logicalAnd(tf.greaterEqual(places, P), tf.lessEqual(places, at)) // [P + T]
    const decoded = model.decode(weights, layers, {
      input_ids: tf.expandDims(token, 1),
      position_ids: tf.expandDims(tf.add(rows.starts, step), 1),
      visible: tf.maximum(rows.seen, tf.cast(fresh, 'float32')), // [B, P + T]
      prompts: rows.prompts,
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
  }

  return drawn(
    {
      number: tf.range(0, all, 1, 'int32'),
      seen: tf.cast(tf.concat([repeatRows(promptMask, G), tf.zeros([all, T], 'int32')], 1), 'float32'),
      starts: repeatRows(next ?? lengths, G),
      prompts: promptCaches,
    },
    {
      step: tf.scalar(0, 'int32'),
      logits: repeatRows(model.head(weights, last), G), // [B, V]
      caches: promptCaches.map(() => ({ keys: empty([all, K, D, T]), values: empty([all, K, T, D]) })),
      used: plan.penalized
        ? repeatRows(tokensOf(prompts.input_ids, promptMask, model.vocabulary), G)
        : tf.zeros([all, 0]),
      tokens: tf.fill([all, T], plan.pad, 'int32'),
      logProbs: tf.zeros([all, T]),
      mask: tf.zeros([all, T]),
      finished: tf.zeros([all]),
    },
  )
}

/** The next token of each row [B] int32.
 * @param noise uniform numbers [B] */
function choose(logits: tf.Tensor, noise: () => tf.Tensor, draw: Draw, plan: Plan): tf.Tensor {
  if (plan.greedy) return tf.argMax(logits, -1)
  const scaled = tf.div(logits, draw.temperature) // [B, V]
  const likely = plan.filtered ? keepLikely(scaled, draw) : scaled
  return drawTokens(noise(), likely)
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
