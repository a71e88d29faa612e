import * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import type { Fields } from '../io/json.js'
import { attention, geluTanh, linear, rmsNorm, type Linear } from '../nn/index.js'
import { scan, type TensorTree } from '../xla/index.js'
import type { ForwardModel } from './forwardModel.js'

/** Fields of config.json, under Hugging Face's names. */
export interface T5Config {
  vocab_size: number
  d_model: number
  /** Size of a head; heads need not add up to d_model. */
  d_kv: number
  d_ff: number
  num_layers: number
  num_heads: number
  relative_attention_num_buckets: number
  relative_attention_max_distance: number
  layer_norm_epsilon: number
  feed_forward_proj: 'relu' | 'gated-gelu'
}

/** The weight tree. */
interface T5Weights {
  shared: { weight: tf.Tensor } // [V, C]
  relative_attention_bias: { weight: tf.Tensor } // [buckets, H], the first layer's, used by all
  block: TensorTree // T5Block, each tensor [L, …]
  final_layer_norm: { weight: tf.Tensor } // [C]
}

/** One layer. */
interface T5Block {
  layer: {
    0: { layer_norm: { weight: tf.Tensor }; SelfAttention: { q: Linear; k: Linear; v: Linear; o: Linear } } // [H·D, C] thrice, [C, H·D]
    1: { layer_norm: { weight: tf.Tensor }; DenseReluDense: FeedForward }
  }
}

/** `wi` for relu, `wi_0` and `wi_1` if gated. */
interface FeedForward {
  wi?: Linear // [I, C]
  wi_0?: Linear // [I, C]
  wi_1?: Linear // [I, C]
  wo: Linear // [C, I]
}

/** Reads and checks the config.json of a T5EncoderModel.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function t5Config(fields: Fields): T5Config {
  fields.only('feed_forward_proj', 'relu', 'gated-gelu')
  const buckets = fields.count('relative_attention_num_buckets', 32)
  if (buckets % 4 !== 0) fields.fail('relative_attention_num_buckets', 'a multiple of 4')
  const config: T5Config = {
    vocab_size: fields.count('vocab_size', 32128),
    d_model: fields.count('d_model', 512),
    d_kv: fields.count('d_kv', 64),
    d_ff: fields.count('d_ff', 2048),
    num_layers: fields.count('num_layers', 6),
    num_heads: fields.count('num_heads', 8),
    relative_attention_num_buckets: buckets,
    relative_attention_max_distance: fields.count('relative_attention_max_distance', 128),
    layer_norm_epsilon: fields.number('layer_norm_epsilon', 1e-6),
    feed_forward_proj: fields.text('feed_forward_proj', 'relu') as T5Config['feed_forward_proj'],
  }
  if (config.relative_attention_max_distance <= buckets / 4)
    fields.fail('relative_attention_max_distance', `more than ${buckets / 4}, a quarter of the buckets`)
  return config
}

/** T5EncoderModel, versions 1.0 and 1.1: `input_ids` [B, T], `attention_mask` [B, T] → `last_hidden_state` [B, T, C]. Computes in
 * the type of its weights; norms and softmax in f32.
 * @source transformers 5.23, models/t5/modeling_t5.py; arXiv 1910.10683 */
export function t5Encoder(config: T5Config): ForwardModel {
  const { num_heads: H, d_kv: D, layer_norm_epsilon: eps } = config

  return {
    architecture: 'T5EncoderModel',
    parameters: t5Parameters(config),
    ignored: /^encoder\.embed_tokens\.weight$|^decoder\.|^lm_head\./,
    inputs: {
      input_ids: { type: 'int32', shape: ['rows', 'tokens'], below: config.vocab_size },
      attention_mask: { type: 'int32', shape: ['rows', 'tokens'], optional: true },
    },

    forward(weights, { input_ids, attention_mask }) {
      const w = weights as unknown as T5Weights
      const [b, t] = input_ids!.shape as [number, number]
      const bias = positionBias(w.relative_attention_bias.weight, t, config) // [1, H, T, T]

      function block(x: tf.Tensor, weights: TensorTree): [tf.Tensor, null] {
        const { 0: first, 1: second } = (weights as unknown as T5Block).layer
        const { q, k, v, o } = first.SelfAttention
        const normed = rmsNorm(x, first.layer_norm.weight, eps)
        const heads = (p: Linear) => tf.reshape(linear(normed, p), [b, t, H, D])
        const [keys, values] = [heads(k), heads(v)].map(h => tf.transpose(h, [0, 2, 1, 3])) as [tf.Tensor, tf.Tensor] // [B, H, T, D]
        const mixed = attention(heads(q), keys, values, { keyMask: attention_mask }, { scale: 1, bias }) // [B, T, H·D]
        const mid = tf.add(x, linear(mixed, o)) // [B, T, C]
        const out = feedForward(rmsNorm(mid, second.layer_norm.weight, eps), second.DenseReluDense)
        return [tf.add(mid, out), null]
      }
      const [last] = scan(block, tf.gather(w.shared.weight, input_ids!), w.block)
      return { last_hidden_state: rmsNorm(last, w.final_layer_norm.weight, eps) }
    },
  }
}

/** wo(relu(wi(x))), or wo(gelu(wi_0(x)) ⊙ wi_1(x)). */
function feedForward(x: tf.Tensor, { wi, wi_0, wi_1, wo }: FeedForward): tf.Tensor {
  const wide = wi ? tf.relu(linear(x, wi)) : tf.mul(geluTanh(linear(x, wi_0!)), linear(x, wi_1!)) // [B, T, I]
  return linear(wide, wo)
}

/** What is added to the scores of T queries and keys, learned by bucket of their distance.
 * @param table [buckets, H]
 * @returns [1, H, T, T] */
function positionBias(table: tf.Tensor, T: number, config: T5Config): tf.Tensor {
  const buckets = Array.from({ length: 2 * T - 1 }, (_, i) => relativePositionBucket(i - (T - 1), config))
  const byDistance = tf.gather(table, tf.tensor1d(buckets, 'int32')) // [2T − 1, H], from −(T − 1) on
  const places = tf.range(0, T, 1, 'int32')
  const distance = tf.sub(tf.expandDims(places, 0), tf.expandDims(places, 1)) // [T, T], key − query
  const bias = tf.gather(byDistance, tf.add(distance, tf.scalar(T - 1, 'int32'))) // [T, T, H]
  return tf.expandDims(tf.transpose(bias, [2, 0, 1]), 0)
}

/** The bucket of a distance, key − query: half of them for keys that follow; of each half, one half for small distances, one each, and
 * the rest for ever wider ranges up to the maximum. In float32 as the reference, since a rounding error may cross a border. */
export function relativePositionBucket(
  distance: number,
  config: Pick<T5Config, 'relative_attention_num_buckets' | 'relative_attention_max_distance'>,
): number {
  const half = config.relative_attention_num_buckets / 2
  const exact = half / 2
  const [from, size] = [distance > 0 ? half : 0, Math.abs(distance)]
  if (size < exact) return from + size
  const f32 = Math.fround
  const range = f32(Math.log(config.relative_attention_max_distance / exact))
  const steps = f32(f32(f32(Math.log(f32(size / exact))) / range) * (half - exact))
  return from + Math.min(exact + Math.trunc(steps), half - 1)
}

function t5Parameters(config: T5Config): Parameter[] {
  const { d_model: C, d_ff: I, num_heads: H, d_kv: D, vocab_size: V, num_layers: layers } = config
  const [first, second] = ['encoder.block.*.layer.0', 'encoder.block.*.layer.1']
  const wide = config.feed_forward_proj === 'relu' ? ['wi'] : ['wi_0', 'wi_1']
  const shapes: Record<string, number[]> = {
    'shared.weight': [V, C],
    [`${first}.layer_norm.weight`]: [C],
    ...Object.fromEntries(['q', 'k', 'v'].map(name => [`${first}.SelfAttention.${name}.weight`, [H * D, C]])),
    [`${first}.SelfAttention.o.weight`]: [C, H * D],
    [`${second}.layer_norm.weight`]: [C],
    ...Object.fromEntries(wide.map(name => [`${second}.DenseReluDense.${name}.weight`, [I, C]])),
    [`${second}.DenseReluDense.wo.weight`]: [C, I],
    'encoder.final_layer_norm.weight': [C],
  }
  const bias: Parameter = {
    name: 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight',
    path: 'relative_attention_bias.weight',
    shape: [config.relative_attention_num_buckets, H],
  }
  const path = (name: string) => name.replace(/^encoder\./, '').replace('.*', '')
  return [bias, ...Object.entries(shapes).map(([name, shape]) => ({ name, shape, path: path(name), layers }))]
}
