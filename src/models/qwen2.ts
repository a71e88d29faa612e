import * as tf from '@tensorflow/tfjs-core'
import { treeOf, type Parameter } from '../io/checkpoint.js'
import type { Fields } from '../io/json.js'
import {
  attention,
  gatedMlp,
  linear,
  rmsNorm,
  rotaryAngles,
  rotaryLookup,
  rotate,
  type AttentionMask,
  type GatedMlp,
  type Linear,
  type Rotary,
} from '../nn/index.js'
import { disposeTree, dynamicUpdateSlice, random, scan, type TensorTree } from '../xla/index.js'
import type { CausalModel, KeyValueCache, ModelOptions, TokenInput } from './causalModel.js'
import { drawEach } from './drawEach.js'

/** Fields of config.json, under Hugging Face's names. */
export interface Qwen2Config {
  vocab_size: number
  hidden_size: number
  intermediate_size: number
  num_hidden_layers: number
  num_attention_heads: number
  num_key_value_heads: number
  max_position_embeddings: number
  rms_norm_eps: number
  rope_theta: number
  tie_word_embeddings: boolean
  /** Standard deviation of fresh weights. */
  initializer_range: number
}

/** The weight tree. */
interface Qwen2Weights {
  embed_tokens: { weight: tf.Tensor } // [V, C]
  layers: TensorTree // Qwen2Layer, each tensor [L, …]
  norm: { weight: tf.Tensor } // [C]
  lm_head?: Linear // [V, C]; absent if tied to the embedding
}

/** One layer. */
interface Qwen2Layer {
  input_layernorm: { weight: tf.Tensor } // [C]
  self_attn: { q_proj: Linear; k_proj: Linear; v_proj: Linear; o_proj: Linear } // [H·D, C], [K·D, C] twice, [C, H·D]
  post_attention_layernorm: { weight: tf.Tensor } // [C]
  mlp: GatedMlp
}

/** Reads and checks a Qwen2 config.json, of transformers 4 (rope_theta) or 5 (rope_parameters).
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function qwen2Config(fields: Fields): Qwen2Config {
  fields.only('hidden_act', 'silu')
  fields.only('use_sliding_window', false)
  fields.only('rope_scaling')
  const rope = (fields.get('rope_parameters') ?? {}) as { rope_type?: unknown; rope_theta?: unknown }
  if ((rope.rope_type ?? 'default') !== 'default') fields.fail('rope_parameters', 'rope_type "default"')
  const heads = fields.count('num_attention_heads')
  const config: Qwen2Config = {
    vocab_size: fields.count('vocab_size'),
    hidden_size: fields.count('hidden_size'),
    intermediate_size: fields.count('intermediate_size'),
    num_hidden_layers: fields.count('num_hidden_layers'),
    num_attention_heads: heads,
    num_key_value_heads: fields.count('num_key_value_heads', heads),
    max_position_embeddings: fields.count('max_position_embeddings', 32768),
    rms_norm_eps: fields.number('rms_norm_eps', 1e-6),
    rope_theta: typeof rope.rope_theta === 'number' ? rope.rope_theta : fields.number('rope_theta', 10000),
    tie_word_embeddings: fields.flag('tie_word_embeddings', false),
    initializer_range: fields.number('initializer_range', 0.02),
  }
  if (config.hidden_size % (2 * heads) !== 0) fields.fail('hidden_size', `an even multiple of ${heads} heads`)
  if (heads % config.num_key_value_heads !== 0) fields.fail('num_key_value_heads', `a divisor of ${heads} heads`)
  return config
}

/** Qwen2ForCausalLM. Computes in the type of its weights; norms, angles, softmax and logits in f32.
 * @source transformers 5.23, models/qwen2/modeling_qwen2.py; Qwen2 technical report, arXiv 2407.10671 */
export function qwen2(config: Qwen2Config, { gradient_checkpointing = true }: ModelOptions = {}): CausalModel {
  const { num_attention_heads: H, num_key_value_heads: K, rms_norm_eps: eps } = config
  const D = config.hidden_size / H

  const embed = (w: Qwen2Weights, ids: tf.Tensor) => tf.gather(w.embed_tokens.weight, ids) // [B, T, C]

  /** One layer on x [B, T, C]; `attend` receives rotated queries [B, T, H, D], keys and values [B, K, T, D]. */
  function layer(x: tf.Tensor, weights: TensorTree, rotary: Rotary, attend: Attend): tf.Tensor {
    const w = weights as unknown as Qwen2Layer
    const [b, t] = x.shape as [number, number]
    const normed = rmsNorm(x, w.input_layernorm.weight, eps)
    const heads = (p: Linear, n: number) => tf.reshape(linear(normed, p), [b, t, n, D])
    const { q_proj, k_proj, v_proj, o_proj } = w.self_attn
    const q = rotate(heads(q_proj, H), rotary) // [B, T, H, D]
    const k = tf.transpose(rotate(heads(k_proj, K), rotary), [0, 2, 1, 3]) // [B, K, T, D]
    const v = tf.transpose(heads(v_proj, K), [0, 2, 1, 3]) // [B, K, T, D]
    const mid = tf.add(x, linear(attend(q, k, v), o_proj)) // [B, T, C]
    return tf.add(mid, gatedMlp(rmsNorm(mid, w.post_attention_layernorm.weight, eps), w.mlp))
  }

  const finish = (w: Qwen2Weights, x: tf.Tensor) => rmsNorm(x, w.norm.weight, eps) // [B, T, C]

  function start(w: Qwen2Weights, input: TokenInput): [tf.Tensor, Rotary, AttentionMask] {
    const positions = input.position_ids ?? tf.expandDims(tf.range(0, input.input_ids.shape[1]!, 1, 'int32'), 0)
    return [
      embed(w, input.input_ids),
      rotaryAngles(positions, D, config.rope_theta),
      { causal: true, keyMask: input.attention_mask },
    ]
  }

  return {
    architecture: 'Qwen2ForCausalLM',
    parameters: qwen2Parameters(config),
    ignored: /rotary_emb\.inv_freq$|^lm_head\.weight$/,
    layers: config.num_hidden_layers,
    vocabulary: config.vocab_size,
    context: config.max_position_embeddings,

    hidden(weights, input) {
      const w = weights as unknown as Qwen2Weights
      const [x, rotary, mask] = start(w, input)
      const body = (x: tf.Tensor, w: TensorTree): [tf.Tensor, null] => [
        layer(x, w, rotary, (q, k, v) => attention(q, k, v, mask)),
        null,
      ]
      return finish(w, scan(body, x, w.layers, { remat: gradient_checkpointing })[0])
    },

    head(weights, hidden) {
      const { lm_head, embed_tokens } = weights as unknown as Qwen2Weights
      return linear(hidden, lm_head ?? embed_tokens, { wide: true })
    },

    prefill(weights, input) {
      const w = weights as unknown as Qwen2Weights
      const [x, rotary, mask] = start(w, input)
      const body = (x: tf.Tensor, w: TensorTree): [tf.Tensor, KeyValueCache] => {
        let cache!: KeyValueCache
        const next = layer(x, w, rotary, (q, keys, values) => {
          cache = { keys: turned(keys), values }
          return attention(q, keys, values, mask)
        })
        return [next, cache]
      }
      const [last, cache] = scan(body, x, w.layers)
      return { hidden: finish(w, last), cache }
    },

    layersOf: weights => (weights as unknown as Qwen2Weights).layers,

    // Layer by layer, not scanned: each reads its weights and writes its cache where they lie.
    decode(weights, layers, { input_ids, position_ids, visible, caches, at }) {
      const w = weights as unknown as Qwen2Weights
      const rotary = rotaryLookup(position_ids, visible.shape[1]!, D, config.rope_theta)
      const written: KeyValueCache[] = []
      const last = layers.reduce<tf.Tensor>(
        (x, layerWeights, i) =>
          layer(x, layerWeights, rotary, (q, k, v) => {
            const keys = dynamicUpdateSlice(caches[i]!.keys, turned(k), [0, 0, 0, at]) // [B, K, D, S]
            const values = dynamicUpdateSlice(caches[i]!.values, v, [0, 0, at, 0]) // [B, K, S, D]
            written.push({ keys, values })
            return attention(q, turned(keys), values, { keyMask: visible })
          }),
        embed(w, input_ids),
      )
      return { hidden: finish(w, last), caches: written }
    },
  }
}

/** Keys [B, K, T, D] as they lie in a cache, [B, K, D, T], and back. */
const turned = (keys: tf.Tensor) => tf.transpose(keys, [0, 1, 3, 2])

type Attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor

/** Fresh weights as transformers draws them: normal with `initializer_range`, zero biases, norms of one.
 * @param key random key, int32 [2] */
export function initQwen2(config: Qwen2Config, key: tf.Tensor): TensorTree {
  const { num_hidden_layers: L, initializer_range: std } = config
  const parameters = qwen2Parameters(config)
  const shapes = parameters.map(({ name, shape }) => (name.includes('*') ? [L, ...shape] : shape))
  const normal = drawEach(shapes, size => random.normal(key, [size]))
  const leaves = parameters.map(({ path, name }, i): [string, tf.Tensor] => {
    if (name.endsWith('bias')) return [path, tf.zeros(shapes[i]!)]
    if (name.endsWith('norm.weight')) return [path, tf.ones(shapes[i]!)]
    return [path, tf.mul(normal[i]!, std)]
  })
  disposeTree(normal)
  return treeOf(leaves)
}

function qwen2Parameters(config: Qwen2Config): Parameter[] {
  const { hidden_size: C, intermediate_size: I, num_attention_heads: H, num_key_value_heads: K, vocab_size: V } = config
  const D = C / H
  const shapes: Record<string, number[]> = {
    'model.embed_tokens.weight': [V, C],
    'model.layers.*.input_layernorm.weight': [C],
    'model.layers.*.self_attn.q_proj.weight': [H * D, C],
    'model.layers.*.self_attn.q_proj.bias': [H * D],
    'model.layers.*.self_attn.k_proj.weight': [K * D, C],
    'model.layers.*.self_attn.k_proj.bias': [K * D],
    'model.layers.*.self_attn.v_proj.weight': [K * D, C],
    'model.layers.*.self_attn.v_proj.bias': [K * D],
    'model.layers.*.self_attn.o_proj.weight': [C, H * D],
    'model.layers.*.post_attention_layernorm.weight': [C],
    'model.layers.*.mlp.gate_proj.weight': [I, C],
    'model.layers.*.mlp.up_proj.weight': [I, C],
    'model.layers.*.mlp.down_proj.weight': [C, I],
    'model.norm.weight': [C],
    ...(config.tie_word_embeddings ? {} : { 'lm_head.weight': [V, C] }),
  }
  return Object.entries(shapes).map(([name, shape]) => ({
    name,
    shape,
    path: name.replace(/^model\./, '').replace('.*', ''),
  }))
}
