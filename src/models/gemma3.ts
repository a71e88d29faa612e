import * as tf from '@tensorflow/tfjs-core'
import type { Fields } from '../io/json.js'
import { gatedMlp, geluTanh, rmsNorm, type GatedMlp } from '../nn/index.js'
import { astype, typeOf } from '../xla/index.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { decoder, headSize, layerShapes, selfAttention, type SelfAttention } from './decoder.js'
import { decoderConfig, layerTypes, ropeOf, type DecoderConfig } from './decoderConfig.js'

/** Fields of config.json, under Hugging Face's names. Of its two rotary embeddings, `rope_theta` and `rope_scaling` are that of the
 * layers that see everything. */
export interface Gemma3Config extends DecoderConfig {
  attention_bias: boolean
  /** Products of queries and keys are divided by its root. */
  query_pre_attn_scalar: number
  /** Base of the rotary embedding of sliding layers. */
  rope_local_base_freq: number
  final_logit_softcapping?: number
}

/** The weights of one layer. */
interface Gemma3Layer {
  input_layernorm: { weight: tf.Tensor } // [C], as are the other three
  self_attn: SelfAttention
  post_attention_layernorm: { weight: tf.Tensor }
  pre_feedforward_layernorm: { weight: tf.Tensor }
  mlp: GatedMlp
  post_feedforward_layernorm: { weight: tf.Tensor }
}

/** What transformers takes for fields that a config.json leaves out, as those of the multimodal models do. */
const DEFAULTS: Partial<DecoderConfig> = {
  vocab_size: 262208,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  max_position_embeddings: 131072,
  tie_word_embeddings: true,
}

/** Reads and checks a config.json of type gemma3_text.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function gemma3Config(fields: Fields): Gemma3Config {
  fields.only('hidden_activation', 'gelu_pytorch_tanh')
  fields.only('attn_logit_softcapping')
  fields.only('use_bidirectional_attention', false)
  const config = decoderConfig(fields, DEFAULTS)
  const { num_hidden_layers: length, max_position_embeddings: context } = config
  const period = fields.count('sliding_window_pattern', 6)
  const ropes = fields.within('rope_parameters') // transformers 5: of each kind of layer
  const full = ropes.has('full_attention') ? ropes.within('full_attention') : fields.within('rope_scaling')
  const sliding = ropes.within('sliding_attention')
  sliding.only('rope_type', 'default')
  const softcap =
    fields.get('final_logit_softcapping') === undefined ? undefined : fields.number('final_logit_softcapping')
  return {
    ...config,
    ...layerTypes(fields, length, i => ((i + 1) % period === 0 ? 'full_attention' : 'sliding_attention'), 4096),
    ...ropeOf(full, fields.number('rope_theta', 1e6), context),
    rope_local_base_freq: sliding.number('rope_theta', fields.number('rope_local_base_freq', 1e4)),
    attention_bias: fields.flag('attention_bias', false),
    query_pre_attn_scalar: fields.number('query_pre_attn_scalar', 256),
    ...(softcap === undefined ? {} : { final_logit_softcapping: softcap }),
  }
}

/** Gemma3ForCausalLM: norms before and after attention and MLP, normed heads of queries and keys, one layer in some that sees
 * everything among layers with a window, each kind with a rotary embedding of its own.
 * @param prefix what checkpoints put before the names of all but the head
 * @source transformers 5.23, models/gemma3/modeling_gemma3.py; arXiv 2503.19786 */
export function gemma3(config: Gemma3Config, options?: ModelOptions, prefix?: string): CausalModel {
  const { hidden_size: C, rms_norm_eps: eps } = config

  const norm = (x: tf.Tensor, weight: tf.Tensor) => gemmaNorm(x, weight, eps)

  return decoder<Gemma3Layer>(
    {
      architecture: 'Gemma3ForCausalLM',
      config,
      prefix,
      layerShapes: {
        'input_layernorm.weight': [C],
        ...layerShapes(config, {
          biases: config.attention_bias ? ['q_proj', 'k_proj', 'v_proj', 'o_proj'] : [],
          headNorms: true,
        }),
        'post_attention_layernorm.weight': [C],
        'pre_feedforward_layernorm.weight': [C],
        'post_feedforward_layernorm.weight': [C],
      },
      finish: (x, w) => norm(x, w.norm.weight),
      embeddingScale: Math.sqrt(C),
      attentionScale: config.query_pre_attn_scalar ** -0.5,
      slidingRope: { theta: config.rope_local_base_freq },
      softcap: config.final_logit_softcapping,

      layer(x, w, rotary, attend) {
        const normed = norm(x, w.input_layernorm.weight)
        const mixed = selfAttention(normed, w.self_attn, headSize(config), norm, rotary, attend) // [B, T, C]
        const mid = tf.add(x, norm(mixed, w.post_attention_layernorm.weight))
        const out = gatedMlp(norm(mid, w.pre_feedforward_layernorm.weight), w.mlp, geluTanh)
        return tf.add(mid, norm(out, w.post_feedforward_layernorm.weight))
      },
    },
    options,
  )
}

/** Scales by 1 + w; rounded to x's type at the end, where Llama's norm rounds before it scales. */
export function gemmaNorm(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor {
  const scale = tf.add(astype(weight, 'f32'), 1)
  return astype(rmsNorm(astype(x, 'f32'), scale, eps), typeOf(x))
}
