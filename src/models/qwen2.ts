import type * as tf from '@tensorflow/tfjs-core'
import type { Fields } from '../io/json.js'
import type { TensorTree } from '../xla/index.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { decoder } from './decoder.js'
import { decoderConfig, layerTypes, type DecoderConfig } from './decoderConfig.js'
import { initWeights } from './initWeights.js'
import { llamaParts } from './llama.js'

/** Fields of config.json, under Hugging Face's names. */
export type Qwen2Config = DecoderConfig

/** Reads and checks a config.json of Qwen2 or Qwen2.5.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function qwen2Config(fields: Fields): Qwen2Config {
  fields.only('hidden_act', 'silu')
  return { ...decoderConfig(fields, { max_position_embeddings: 32768 }), ...qwenLayerTypes(fields) }
}

/** Layers from `max_window_layers` on slide, if any do. */
export function qwenLayerTypes(fields: Fields): Pick<DecoderConfig, 'layer_types' | 'sliding_window'> {
  const window = fields.flag('use_sliding_window', false)
  const first = fields.count('max_window_layers', 28)
  return layerTypes(
    fields,
    fields.count('num_hidden_layers'),
    i => (window && i >= first ? 'sliding_attention' : 'full_attention'),
    4096,
  )
}

/** Qwen2ForCausalLM: Llama's layer, with biases where queries, keys and values are projected.
 * @param prefix what checkpoints put before the names of all but the head
 * @source transformers 5.23, models/qwen2/modeling_qwen2.py; arXiv 2407.10671 */
export const qwen2 = (config: Qwen2Config, options?: ModelOptions, prefix?: string): CausalModel =>
  decoder(
    { architecture: 'Qwen2ForCausalLM', prefix, ...llamaParts(config, { biases: ['q_proj', 'k_proj', 'v_proj'] }) },
    options,
  )

/** Fresh weights as transformers draws them: normal with `initializer_range`, zero biases, norms of one.
 * @param key random key, int32 [2] */
export const initQwen2 = (config: Qwen2Config, key: tf.Tensor): TensorTree =>
  initWeights(qwen2(config).parameters, key, ({ shape }) =>
    shape.length > 1 ? { std: config.initializer_range } : undefined,
  )
