import * as tf from '@tensorflow/tfjs-core'
import type { Fields } from '../io/json.js'
import { attention, gelu, layerNorm, linear, type Affine, type Linear } from '../nn/index.js'
import { mapTensors, scan, type TensorTree } from '../xla/index.js'

/** Fields of a qformer_config, under Hugging Face's names. */
export interface QFormerConfig {
  hidden_size: number // C
  intermediate_size: number // I
  num_hidden_layers: number // L
  num_attention_heads: number // H
  layer_norm_eps: number
  /** The first of so many layers looks at the picture. */
  cross_attention_frequency: number // F
}

/** Reads and checks a qformer_config of type blip_2_qformer.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function qFormerConfig(fields: Fields): QFormerConfig {
  fields.only('model_type', 'blip_2_qformer')
  fields.only('hidden_act', 'gelu')
  fields.only('use_qformer_text_input', false)
  const config = {
    hidden_size: fields.count('hidden_size', 768),
    intermediate_size: fields.count('intermediate_size', 3072),
    num_hidden_layers: fields.count('num_hidden_layers', 12),
    num_attention_heads: fields.count('num_attention_heads', 12),
    layer_norm_eps: fields.number('layer_norm_eps', 1e-12),
    cross_attention_frequency: fields.count('cross_attention_frequency', 2),
  }
  if (config.hidden_size % config.num_attention_heads !== 0)
    fields.fail('hidden_size', `a multiple of ${config.num_attention_heads} heads`)
  if (config.num_hidden_layers % config.cross_attention_frequency !== 0)
    fields.fail('num_hidden_layers', `a multiple of ${config.cross_attention_frequency}, cross_attention_frequency`)
  return config
}

interface QFormer {
  layernorm: Affine // [C]
  encoder: { layers: { [name: string]: TensorTree; crossattention: TensorTree } } // QFormerLayer, each tensor [L, …]; Attention, [L / F, …]
}

interface QFormerLayer {
  attention: Attention
  intermediate_query: { dense: Linear } // [I, C]
  output_query: Output // [C, I]
}

interface Attention {
  attention: { query: Linear; key: Linear; value: Linear } // [C, C]; of a picture of width E, keys and values [C, E]
  output: Output // [C, C]
}

interface Output {
  dense: Linear
  LayerNorm: Affine // [C], of the sum of what comes in and goes out
}

/** Blip2QFormerModel: queries see one another, and every few layers the picture.
 * @param queries [1, Q, C]
 * @param picture [B, S, E]
 * @param remat compute what is inside a group of layers anew for the gradient
 * @returns last_hidden_state [B, Q, C]
 * @source transformers 5.23, models/blip_2/modeling_blip_2.py; arXiv 2301.12597 */
export function qFormer(
  config: QFormerConfig,
  weights: TensorTree,
  queries: tf.Tensor,
  picture: tf.Tensor,
  remat: boolean,
): tf.Tensor {
  const { hidden_size: C, num_attention_heads: H, layer_norm_eps: eps, cross_attention_frequency: F } = config
  const { layernorm, encoder } = weights as unknown as QFormer
  const { crossattention, ...own } = encoder.layers
  const b = picture.shape[0]

  const joined = (x: tf.Tensor, added: tf.Tensor, { dense, LayerNorm }: Output) =>
    layerNorm(tf.add(linear(added, dense), x), LayerNorm, eps)
  function attended(x: tf.Tensor, seen: tf.Tensor, { attention: { query, key, value }, output }: Attention): tf.Tensor {
    const heads = (x: tf.Tensor, p: Linear) => tf.reshape(linear(x, p), [b, -1, H, C / H])
    const [k, v] = [key, value].map(p => tf.transpose(heads(seen, p), [0, 2, 1, 3])) as [tf.Tensor, tf.Tensor] // [B, H, S, D]
    return joined(x, attention(heads(x, query), k, v), output) // [B, Q, C]
  }

  // A loop over groups of F layers, which are alike.
  function group(x: tf.Tensor, { own, cross }: { own: TensorTree; cross: TensorTree }): [tf.Tensor, null] {
    for (let i = 0; i < F; i++) {
      const layer = mapTensors(own, t => tf.reshape(tf.slice(t, i, 1), t.shape.slice(1))) as unknown as QFormerLayer
      const mixed = attended(x, x, layer.attention)
      const seen = i === 0 ? attended(mixed, picture, cross as unknown as Attention) : mixed
      x = joined(seen, gelu(linear(seen, layer.intermediate_query.dense)), layer.output_query)
    }
    return [x, null]
  }
  const grouped = mapTensors(own, t => tf.reshape(t, [-1, F, ...t.shape.slice(1)])) // [L / F, F, …]
  const x = tf.tile(layerNorm(queries, layernorm, eps), [b, 1, 1]) // [B, Q, C]
  return scan(group, x, { own: grouped, cross: crossattention }, { remat })[0]
}

/** Shapes of its weights, below its name.
 * @param width of a picture's states, E */
export function qFormerShapes(config: QFormerConfig, width: number): Record<string, number[]> {
  const { hidden_size: C, intermediate_size: I } = config
  const at = 'encoder.layer.*'
  const layer = (name: string, out: number, size: number) => ({
    [`${at}.${name}.weight`]: [out, size],
    [`${at}.${name}.bias`]: [out],
  })
  const output = (name: string, size: number) => ({
    ...layer(`${name}.dense`, C, size),
    [`${at}.${name}.LayerNorm.weight`]: [C],
    [`${at}.${name}.LayerNorm.bias`]: [C],
  })
  const attention = (name: string, size: number) => ({
    ...layer(`${name}.attention.query`, C, C),
    ...layer(`${name}.attention.key`, C, size),
    ...layer(`${name}.attention.value`, C, size),
    ...output(`${name}.output`, C),
  })
  return {
    'layernorm.weight': [C],
    'layernorm.bias': [C],
    ...attention('attention', C),
    ...attention('crossattention', width),
    ...layer('intermediate_query.dense', I, C),
    ...output('output_query', I),
  }
}
