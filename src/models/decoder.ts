import * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import {
  attention,
  groupAttention,
  linear,
  repeatRows,
  rotaryAngles,
  rotaryLookup,
  rotarySections,
  rotate,
  type AttentionMask,
  type Linear,
  type RopeScaling,
  type Rotary,
} from '../nn/index.js'
import { astype, dynamicUpdateSlice, mapTensors, scan, typeOf, type TensorTree } from '../xla/index.js'
import type { CausalModel, Features, KeyValueCache, ModelOptions, TokenInput } from './causalModel.js'
import type { DecoderConfig } from './decoderConfig.js'

/** What tells one decoder from another.
 *
 * `Outer` are the weights around the layers, but for embedding and head. */
export interface Decoder<Layer, Outer = Normed> {
  /** The class in Hugging Face's `architectures`. */
  architecture: string
  config: DecoderConfig
  /** What checkpoints put before the names of all but the head. Default `model`. */
  prefix?: string
  /** Leaves of one layer's weights, below `model.layers.*`, and their shapes. */
  layerShapes: Record<string, number[]>
  /** Leaves around the layers but for the head, below the prefix: the embedding first. Default: it and a norm. */
  outerShapes?: Record<string, number[]>
  /** One layer, x [B, T, C] → [B, T, C]. */
  layer(x: tf.Tensor, weights: Layer, rotary: Rotary, attend: Attend): tf.Tensor
  /** What the first layer takes, of embeddings [B, T, E] and positions [B or 1, T]. Default: the embeddings. */
  enter?(x: tf.Tensor, weights: Outer, positions: tf.Tensor): tf.Tensor
  /** What the head takes, of what the last layer gives [B, T, C]: a norm. */
  finish(x: tf.Tensor, weights: Outer): tf.Tensor
  /** Factor of the embeddings. Default 1. */
  embeddingScale?: number
  /** Factor of the products of queries and keys. Default 1/√D. */
  attentionScale?: number
  /** Rotary embedding of sliding layers. Default: that of the others. */
  slidingRope?: Rope
  /** Frequencies of the rotary embedding that turn with each coordinate of a token, where positions have several. */
  mrope_section?: readonly number[]
  /** Logits x become softcap · tanh(x / softcap). */
  softcap?: number
}

interface Rope {
  theta: number
  scaling?: RopeScaling
}

/** The angles of full layers and of sliding ones. */
type Angles = { full: Rotary; sliding: Rotary }

/** Rotated queries [B, T, H, D], rotated keys and values [B, K, T, D] → what heads mix from values [B, T, H·D]. */
export type Attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor

/** The same within the layer's window. */
type WindowedAttend = (...args: [...Parameters<Attend>, window: Pick<AttentionMask, 'window'>]) => tf.Tensor

/** The weight tree, beside `Outer`. */
interface DecoderWeights {
  embed_tokens: { weight: tf.Tensor } // [V, E]; E is C, if nothing is said of entering
  layers: TensorTree // each tensor [L, …]
  lm_head?: Linear // [V, E]; absent if tied to the embedding
}

/** The weights between layers and head of most decoders. */
interface Normed {
  norm: { weight: tf.Tensor } // [C]
}

/** A causal language model of embedding, layers of one structure, norm and head; layers may differ in how far they see and in their
 * rotary embedding. Computes in the type of its weights; norms, angles, softmax and logits in f32. */
export function decoder<Layer, Outer = Normed>(
  parts: Decoder<Layer, Outer>,
  { gradient_checkpointing = true }: ModelOptions = {},
): CausalModel {
  const { config, attentionScale: scale, embeddingScale, softcap, mrope_section: sections } = parts
  const { num_hidden_layers: L, sliding_window: window } = config
  const D = headSize(config)
  const slides = Array.from({ length: L }, (_, i) => config.layer_types?.[i] === 'sliding_attention')
  const mixed = new Set(slides).size > 1

  type Weights = DecoderWeights & Outer
  const weightsOf = (tree: TensorTree) => tree as unknown as Weights

  function embed(w: Weights, ids: tf.Tensor, positions: tf.Tensor, features?: Features): tf.Tensor {
    const tokens = tf.gather(w.embed_tokens.weight, ids) // [B, T, E]
    const x = embeddingScale === undefined ? tokens : tf.mul(tokens, astype(tf.scalar(embeddingScale), typeOf(tokens)))
    const seen = features
      ? tf.where(tf.cast(tf.expandDims(features.there, 2), 'bool'), astype(features.values, typeOf(x)), x)
      : x
    return parts.enter ? parts.enter(seen, w, positions) : seen // [B, T, C]
  }

  function anglesOf(angles: (rope: Rope) => Rotary): Angles {
    const full = angles({ theta: config.rope_theta, scaling: config.rope_scaling })
    return { full, sliding: parts.slidingRope ? angles(parts.slidingRope) : full }
  }

  /** What a layer computes with by its kind; which it is, is data where one loop runs through both. */
  function byKind(sliding: boolean | tf.Tensor, angles: Angles): [Rotary, Pick<AttentionMask, 'window'>] {
    if (sliding === false) return [angles.full, {}]
    if (sliding === true) return [angles.sliding, { window }]
    const pick = (slid: tf.Tensor, full: tf.Tensor) => (slid === full ? full : tf.where(sliding, slid, full))
    const rotary = { cos: pick(angles.sliding.cos, angles.full.cos), sin: pick(angles.sliding.sin, angles.full.sin) }
    return [rotary, { window: pick(tf.scalar(window!, 'int32'), tf.scalar(UNBOUNDED, 'int32')) }]
  }

  /** All layers in one loop.
   * @param attend attention of queries, keys and values as a layer gives them, within the layer's window
   * @param keep what to keep of a layer's keys and values, each [B, K, T, D] */
  function through<Kept extends KeyValueCache | null>(
    w: Weights,
    { input_ids, position_ids, features }: Omit<TokenInput, 'attention_mask'>,
    attend: WindowedAttend,
    keep: (keys: tf.Tensor, values: tf.Tensor) => Kept,
    remat: boolean,
  ): { hidden: tf.Tensor; kept: Kept } {
    const positions = position_ids ?? tf.expandDims(tf.range(0, input_ids.shape[1]!, 1, 'int32'), 0)
    const angles = anglesOf(({ theta, scaling }) =>
      sections && positions.rank === 3
        ? rotarySections(positions, D, theta, sections, scaling)
        : rotaryAngles(positions, D, theta, scaling),
    )
    const body = (x: tf.Tensor, one: { layer: TensorTree; sliding?: tf.Tensor }): [tf.Tensor, Kept] => {
      const [rotary, window] = byKind(one.sliding ?? slides[0]!, angles)
      let kept!: Kept
      const next = parts.layer(x, one.layer as Layer, rotary, (q, k, v) => {
        kept = keep(k, v)
        return attend(q, k, v, window)
      })
      return [next, kept]
    }
    const each = { layer: w.layers, ...(mixed ? { sliding: tf.tensor1d(slides, 'bool') } : {}) }
    const [last, kept] = scan(body, embed(w, input_ids, positions, features), each, { remat })
    return { hidden: parts.finish(last, w), kept }
  }

  /** Rows in which each token attends to what stands before it. */
  function causal<Kept extends KeyValueCache | null>(
    weights: TensorTree,
    input: TokenInput,
    keep: (keys: tf.Tensor, values: tf.Tensor) => Kept,
    remat: boolean,
  ): { hidden: tf.Tensor; kept: Kept } {
    const { attention_mask: keyMask, segments } = input
    const mask = { causal: true, keyMask, ...pair('segments', segments), ...pair('blocks', input.features?.blocks) }
    const attend: WindowedAttend = (q, k, v, window) => attention(q, k, v, { ...mask, ...window }, { scale })
    return through(weightsOf(weights), input, attend, keep, remat)
  }

  return {
    architecture: parts.architecture,
    parameters: decoderParameters(parts),
    ignored: /rotary_emb\.inv_freq$|^lm_head\.weight$/,
    layers: L,
    vocabulary: config.vocab_size,
    context: config.max_position_embeddings,

    hidden: (weights, input) => causal(weights, input, () => null, gradient_checkpointing).hidden,

    // A prompt and its G rows lie one after another, P + G·T places: only attention tells them apart.
    continued(weights, prompts, rows) {
      const [n, P] = prompts.input_ids.shape as [number, number]
      const [b, T] = rows.input_ids.shape as [number, number]
      const G = b / n
      const [alone, after] = [
        { causal: true, keyMask: prompts.attention_mask, ...pair('blocks', prompts.features?.blocks) },
        {
          causal: true,
          offset: P,
          keyMask: tf.concat([repeatRows(prompts.attention_mask, G), rows.attention_mask], 1),
        },
      ]
      const attend: WindowedAttend = (q, k, v, window) => {
        const [first, rest] = tf.split(q, [P, G * T], 1) as [tf.Tensor, tf.Tensor]
        const heads = (x: tf.Tensor) => {
          const [prompt, own] = tf.split(x, [P, G * T], 2) as [tf.Tensor, tf.Tensor] // [N, K, P, D], [N, K, G·T, D]
          const [, K, , D] = prompt.shape as [number, number, number, number]
          const apart = tf.reshape(tf.transpose(tf.reshape(own, [n, K, G, T, D]), [0, 2, 1, 3, 4]), [b, K, T, D])
          return { prompt, whole: tf.concat([repeatRows(prompt, G), apart], 2) } // whole [B, K, P + T, D]
        }
        const [keys, values] = [heads(k), heads(v)]
        const [, , H, D] = q.shape as [number, number, number, number]
        const ofPrompts = attention(first, keys.prompt, values.prompt, { ...alone, ...window }, { scale }) // [N, P, H·D]
        const split = tf.reshape(rest, [b, T, H, D])
        const ofRows = attention(split, keys.whole, values.whole, { ...after, ...window }, { scale }) // [B, T, H·D]
        return tf.concat([ofPrompts, tf.reshape(ofRows, [n, G * T, H * D])], 1)
      }
      const axes = prompts.position_ids!.shape.slice(1, -1) // [], or [A] coordinates, which are one for tokens of a row
      const behind = tf.tile(tf.reshape(rows.position_ids!, [n, ...axes.map(() => 1), G * T]), [1, ...axes, 1])
      const longer = (x: tf.Tensor) => tf.pad(x, x.shape.map((_, axis) => [0, axis === 1 ? G * T : 0])) // prettier-ignore
      const input = {
        input_ids: tf.concat([prompts.input_ids, tf.reshape(rows.input_ids, [n, G * T])], 1), // [N, P + G·T]
        position_ids: tf.concat([prompts.position_ids!, behind], -1),
        ...(prompts.features && { features: mapTensors(prompts.features, longer) }),
      }
      const { hidden } = through(weightsOf(weights), input, attend, () => null, gradient_checkpointing)
      const C = hidden.shape[2]!
      const last = tf.slice(hidden, [0, P - 1, 0], [n, 1, C])
      const own = tf.reshape(tf.slice(hidden, [0, P, 0], [n, G * T, C]), [b, T, C])
      return tf.concat([repeatRows(last, G), own], 1) // [B, 1 + T, C]
    },

    head(weights, hidden) {
      const { lm_head, embed_tokens } = weightsOf(weights)
      const logits = linear(hidden, lm_head ?? embed_tokens, { wide: true })
      return softcap === undefined ? logits : tf.mul(tf.tanh(tf.div(logits, softcap)), softcap)
    },

    prefill(weights, input) {
      const keep = (keys: tf.Tensor, values: tf.Tensor) => ({ keys: turned(keys), values })
      const { hidden, kept } = causal(weights, input, keep, false)
      return { hidden, cache: kept }
    },

    layersOf: weights => weightsOf(weights).layers,

    // Layer by layer, not scanned: each reads its weights and writes its cache where they lie.
    decode(weights, layers, { input_ids, position_ids, visible, prompts, caches, at }) {
      const w = weightsOf(weights)
      const offset = tf.add(at, tf.scalar(prompts[0]!.keys.shape[3]!, 'int32'))
      const angles = anglesOf(({ theta, scaling }) => rotaryLookup(position_ids, visible.shape[1]!, D, theta, scaling))
      const written: KeyValueCache[] = []
      const last = layers.reduce<tf.Tensor>(
        (x, layer, i) => {
          const [rotary, window] = byKind(slides[i]!, angles)
          const mask = { ...window, offset, keyMask: visible } // what is visible came before
          return parts.layer(x, layer as Layer, rotary, (q, k, v) => {
            const keys = dynamicUpdateSlice(caches[i]!.keys, turned(k), [0, 0, 0, at]) // [B, K, D, T]
            const values = dynamicUpdateSlice(caches[i]!.values, v, [0, 0, at, 0]) // [B, K, T, D]
            written.push({ keys, values })
            return groupAttention(q, prompts[i]!, { keys, values }, mask, { scale })
          })
        },
        embed(w, input_ids, position_ids),
      )
      return { hidden: parts.finish(last, w), caches: written }
    },
  }
}

/** Numbers of tokens, as those of queries and of keys. */
const pair = (name: 'segments' | 'blocks', x: tf.Tensor | undefined): AttentionMask =>
  x ? { [name]: { q: x, kv: x } } : {}

/** The window of a layer without one. */
const UNBOUNDED = 2 ** 30

/** Keys [B, K, T, D] as they lie in a cache, [B, K, D, T], and back. */
const turned = (keys: tf.Tensor) => tf.transpose(keys, [0, 1, 3, 2])

/** D. */
export const headSize = ({ head_dim, hidden_size, num_attention_heads }: DecoderConfig): number =>
  head_dim ?? hidden_size / num_attention_heads

/** Projections of attention; norms of query and key heads where the model has them. */
export interface SelfAttention {
  q_proj: Linear // [H·D, C]
  k_proj: Linear // [K·D, C]
  v_proj: Linear // [K·D, C]
  o_proj: Linear // [C, H·D]
  q_norm?: { weight: tf.Tensor } // [D]
  k_norm?: { weight: tf.Tensor } // [D]
}

/** Projections to heads, norms, rotation, attention, projection back.
 * @param x [B, T, C]
 * @param size D */
export function selfAttention(
  x: tf.Tensor,
  { q_proj, k_proj, v_proj, o_proj, q_norm, k_norm }: SelfAttention,
  size: number,
  norm: (x: tf.Tensor, weight: tf.Tensor) => tf.Tensor,
  rotary: Rotary,
  attend: Attend,
): tf.Tensor {
  const [b, t] = x.shape as [number, number]
  const heads = (p: Linear) => tf.reshape(linear(x, p), [b, t, -1, size])
  const turn = (h: tf.Tensor, n?: { weight: tf.Tensor }) => rotate(n ? norm(h, n.weight) : h, rotary)
  const q = turn(heads(q_proj), q_norm) // [B, T, H, D]
  const k = tf.transpose(turn(heads(k_proj), k_norm), [0, 2, 1, 3]) // [B, K, T, D]
  const v = tf.transpose(heads(v_proj), [0, 2, 1, 3]) // [B, K, T, D]
  return linear(attend(q, k, v), o_proj)
}

/** Shapes of attention and MLP in one layer.
 * @param biases projections with a bias
 * @param headNorms whether heads of queries and keys are normed */
export function layerShapes(
  config: DecoderConfig,
  { biases, headNorms }: { biases: readonly string[]; headNorms: boolean },
): Record<string, number[]> {
  const { hidden_size: C, intermediate_size: I, num_attention_heads: H, num_key_value_heads: K } = config
  const D = headSize(config)
  const matrices: [name: string, out: number, size: number][] = [
    ['self_attn.q_proj', H * D, C],
    ['self_attn.k_proj', K * D, C],
    ['self_attn.v_proj', K * D, C],
    ['self_attn.o_proj', C, H * D],
    ['mlp.gate_proj', I, C],
    ['mlp.up_proj', I, C],
    ['mlp.down_proj', C, I],
  ]
  const shapes: Record<string, number[]> = {}
  for (const [name, out, size] of matrices) {
    shapes[`${name}.weight`] = [out, size]
    if (biases.some(end => name.endsWith(end))) shapes[`${name}.bias`] = [out]
  }
  return headNorms ? { ...shapes, 'self_attn.q_norm.weight': [D], 'self_attn.k_norm.weight': [D] } : shapes
}

function decoderParameters({ config, layerShapes, outerShapes, prefix = 'model' }: Decoder<never, never>): Parameter[] {
  const { vocab_size: V, hidden_size: C, num_hidden_layers: layers, tie_word_embeddings } = config
  const [embedding, ...others] = Object.entries(outerShapes ?? { 'embed_tokens.weight': [V, C], 'norm.weight': [C] })
  const outer = ([path, shape]: [string, number[]]) => ({ name: `${prefix}.${path}`, path, shape })
  const stacked = Object.entries(layerShapes).map(([name, shape]) => ({
    name: `${prefix}.layers.*.${name}`,
    path: `layers.${name}`,
    shape,
    layers,
  }))
  return [
    outer(embedding!),
    ...stacked,
    ...others.map(outer),
    ...(tie_word_embeddings ? [] : [{ name: 'lm_head.weight', path: 'lm_head.weight', shape: embedding![1] }]),
  ]
}
