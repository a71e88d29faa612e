import type { Fields } from '../io/json.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { decoder } from './decoder.js'
import { decoderConfig, type DecoderConfig } from './decoderConfig.js'
import { llamaParts } from './llama.js'
import { qwenLayerTypes } from './qwen2.js'

/** Fields of config.json, under Hugging Face's names. */
export interface Qwen3Config extends DecoderConfig {
  /** Whether the projections of attention have biases. */
  attention_bias: boolean
}

/** Reads and checks a Qwen3 config.json, dense models.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function qwen3Config(fields: Fields): Qwen3Config {
  fields.only('hidden_act', 'silu')
  return {
    ...decoderConfig(fields, { head_dim: 128, max_position_embeddings: 32768 }),
    ...qwenLayerTypes(fields),
    attention_bias: fields.flag('attention_bias', false),
  }
}

/** Qwen3ForCausalLM: Llama's layer, with the heads of queries and keys normed before they are rotated.
 * @source transformers 5.23, models/qwen3/modeling_qwen3.py; arXiv 2505.09388 */
export function qwen3(config: Qwen3Config, options?: ModelOptions): CausalModel {
  const biases = config.attention_bias ? ['q_proj', 'k_proj', 'v_proj', 'o_proj'] : []
  return decoder({ architecture: 'Qwen3ForCausalLM', ...llamaParts(config, { biases, headNorms: true }) }, options)
}
