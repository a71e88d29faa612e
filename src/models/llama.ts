import * as tf from '@tensorflow/tfjs-core'
import type { Fields } from '../io/json.js'
import { gatedMlp, rmsNorm, type GatedMlp } from '../nn/index.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { decoder, headSize, layerShapes, selfAttention, type Decoder, type SelfAttention } from './decoder.js'
import { decoderConfig, layerTypes, type DecoderConfig } from './decoderConfig.js'

/** Fields of config.json, under Hugging Face's names. */
export interface LlamaConfig extends DecoderConfig {
  /** Whether the projections of attention have biases. */
  attention_bias: boolean
  mlp_bias: boolean
}

/** Reads and checks a Llama config.json: Llama 1, 2, 3, 3.1 and 3.2, and what is built alike.
 * @param usual where fields are left out, as those of multimodal models do
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function llamaConfig(fields: Fields, usual: Partial<DecoderConfig> = {}): LlamaConfig {
  fields.only('hidden_act', 'silu')
  return {
    ...decoderConfig(fields, { max_position_embeddings: 2048, ...usual }),
    attention_bias: fields.flag('attention_bias', false),
    mlp_bias: fields.flag('mlp_bias', false),
  }
}

/** LlamaForCausalLM.
 * @param prefix what checkpoints put before the names of all but the head
 * @source transformers 5.23, models/llama/modeling_llama.py; arXiv 2302.13971, 2407.21783 */
export function llama(config: LlamaConfig, options?: ModelOptions, prefix?: string): CausalModel {
  const biases = [
    ...(config.attention_bias ? ['q_proj', 'k_proj', 'v_proj', 'o_proj'] : []),
    ...(config.mlp_bias ? ['gate_proj', 'up_proj', 'down_proj'] : []),
  ]
  return decoder({ architecture: 'LlamaForCausalLM', prefix, ...llamaParts(config, { biases }) }, options)
}

/** Reads and checks a Mistral config.json.
 * @throws as {@link llamaConfig} */
export function mistralConfig(fields: Fields): DecoderConfig {
  fields.only('hidden_act', 'silu')
  fields.only('layer_types')
  const config = decoderConfig(fields, { num_key_value_heads: 8, max_position_embeddings: 131072 })
  const windowless = fields.has('sliding_window') && fields.get('sliding_window') === undefined // null
  const type = windowless ? 'full_attention' : 'sliding_attention'
  return { ...config, ...layerTypes(fields, config.num_hidden_layers, () => type, 4096) }
}

/** MistralForCausalLM: Llama, with a window on all layers or none.
 * @source transformers 5.23, models/mistral/modeling_mistral.py; arXiv 2310.06825 */
export const mistral = (config: DecoderConfig, options?: ModelOptions): CausalModel =>
  decoder({ architecture: 'MistralForCausalLM', ...llamaParts(config) }, options)

/** The weights of one layer. */
interface LlamaLayer {
  input_layernorm: { weight: tf.Tensor } // [C]
  self_attn: SelfAttention
  post_attention_layernorm: { weight: tf.Tensor } // [C]
  mlp: GatedMlp
}

/** Llama's layer, and those that differ from it in biases and norms of heads.
 * @param options.biases linear layers with a bias
 * @param options.headNorms whether heads of queries and keys are normed before they are rotated */
export function llamaParts(
  config: DecoderConfig,
  { biases = [], headNorms = false }: { biases?: readonly string[]; headNorms?: boolean } = {},
): Omit<Decoder<LlamaLayer>, 'architecture'> {
  const { hidden_size: C, rms_norm_eps: eps } = config
  const norm = (x: tf.Tensor, weight: tf.Tensor) => rmsNorm(x, weight, eps)
  return {
    config,
    layerShapes: {
      'input_layernorm.weight': [C],
      ...layerShapes(config, { biases, headNorms }),
      'post_attention_layernorm.weight': [C],
    },
    finish: (x, w) => norm(x, w.norm.weight),
    layer(x, w, rotary, attend) {
      const normed = norm(x, w.input_layernorm.weight)
      const mid = tf.add(x, selfAttention(normed, w.self_attn, headSize(config), norm, rotary, attend)) // [B, T, C]
      return tf.add(mid, gatedMlp(norm(mid, w.post_attention_layernorm.weight), w.mlp))
    },
  }
}
