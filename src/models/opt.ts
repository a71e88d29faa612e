import * as tf from '@tensorflow/tfjs-core'
import type { Fields } from '../io/json.js'
import { layerNorm, linear, type Affine, type Linear } from '../nn/index.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { decoder } from './decoder.js'
import type { DecoderConfig } from './decoderConfig.js'

/** Fields of config.json, under the names that other decoders have: `ffn_dim` is the intermediate size, `init_std` the initializer range. */
export interface OptConfig extends DecoderConfig {
  /** Whether attention and MLP norm what they take, not what they add up to. */
  do_layer_norm_before: boolean
  /** Width of the embeddings, E. */
  word_embed_proj_dim: number
}

/** Reads and checks a config.json of OPT.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function optConfig(fields: Fields): OptConfig {
  fields.only('activation_function', 'relu')
  for (const name of ['enable_bias', 'layer_norm_elementwise_affine', 'tie_word_embeddings']) fields.only(name, true)
  fields.only('_remove_final_layer_norm', false)
  const heads = fields.count('num_attention_heads', 12)
  const width = fields.count('hidden_size', 768)
  if (width % (2 * heads) !== 0) fields.fail('hidden_size', `an even multiple of ${heads} heads`)
  return {
    vocab_size: fields.count('vocab_size', 50272),
    hidden_size: width,
    intermediate_size: fields.count('ffn_dim', 3072),
    num_hidden_layers: fields.count('num_hidden_layers', 12),
    num_attention_heads: heads,
    num_key_value_heads: heads,
    max_position_embeddings: fields.count('max_position_embeddings', 2048),
    rms_norm_eps: 1e-5, // PyTorch's, of norms that subtract the mean
    rope_theta: 10000, // of angles that no layer reads: positions are learned
    tie_word_embeddings: true,
    initializer_range: fields.number('init_std', 0.02),
    do_layer_norm_before: fields.flag('do_layer_norm_before', true),
    word_embed_proj_dim: fields.count('word_embed_proj_dim', width),
  }
}

/** The weights around the layers, beside the embedding [V, E]. */
interface OptWeights {
  embed_positions: { weight: tf.Tensor } // [positions + OFFSET, C]
  project_in?: Linear // [C, E], where E is not C
  project_out?: Linear // [E, C]
  final_layer_norm?: Affine // [C], where norms stand before
}

/** The weights of one layer. */
interface OptLayer {
  self_attn: { q_proj: Linear; k_proj: Linear; v_proj: Linear; out_proj: Linear } // [C, C] each
  self_attn_layer_norm: Affine // [C]
  fc1: Linear // [I, C]
  fc2: Linear // [C, I]
  final_layer_norm: Affine // [C]
}

/** Rows of the table of positions before that of the first token. */
const OFFSET = 2

/** OPTForCausalLM: learned positions, counted among the tokens that the attention mask shows, norms with mean and bias, an MLP with ReLU.
 * @param prefix what checkpoints put before the names
 * @source transformers 5.23, models/opt/modeling_opt.py; arXiv 2205.01068 */
export function opt(config: OptConfig, options?: ModelOptions, prefix = 'model.decoder'): CausalModel {
  const { hidden_size: C, intermediate_size: I, word_embed_proj_dim: E, num_attention_heads: H } = config
  const { do_layer_norm_before: before, rms_norm_eps: eps } = config
  const norm = (x: tf.Tensor, weights: Affine) => layerNorm(x, weights, eps)
  /** x + f(x), normed where the model says. */
  const residual = (x: tf.Tensor, weights: Affine, f: (x: tf.Tensor) => tf.Tensor): tf.Tensor =>
    before ? tf.add(x, f(norm(x, weights))) : norm(tf.add(x, f(x)), weights)

  const language = decoder<OptLayer, OptWeights>(
    {
      architecture: 'OPTForCausalLM',
      config,
      prefix,
      layerShapes: {
        ...linearShapes('self_attn.q_proj', C, C),
        ...linearShapes('self_attn.k_proj', C, C),
        ...linearShapes('self_attn.v_proj', C, C),
        ...linearShapes('self_attn.out_proj', C, C),
        ...normShapes('self_attn_layer_norm', C),
        ...linearShapes('fc1', I, C),
        ...linearShapes('fc2', C, I),
        ...normShapes('final_layer_norm', C),
      },
      outerShapes: {
        'embed_tokens.weight': [config.vocab_size, E],
        'embed_positions.weight': [config.max_position_embeddings + OFFSET, C],
        ...(E === C ? {} : { 'project_in.weight': [C, E], 'project_out.weight': [E, C] }),
        ...(before ? normShapes('final_layer_norm', C) : {}),
      },

      enter(x, { project_in, embed_positions }, positions) {
        const places = tf.add(positions, tf.scalar(OFFSET, 'int32'))
        return tf.add(project_in ? linear(x, project_in) : x, tf.gather(embed_positions.weight, places)) // [B, T, C]
      },

      layer(x, w, _rotary, attend) {
        const [b, t] = x.shape as [number, number]
        const { q_proj, k_proj, v_proj, out_proj } = w.self_attn
        const mixed = residual(x, w.self_attn_layer_norm, x => {
          const heads = (p: Linear) => tf.reshape(linear(x, p), [b, t, H, C / H]) // [B, T, H, D]
          const [k, v] = [k_proj, v_proj].map(p => tf.transpose(heads(p), [0, 2, 1, 3])) as [tf.Tensor, tf.Tensor]
          return linear(attend(heads(q_proj), k, v), out_proj)
        })
        return residual(mixed, w.final_layer_norm, x => linear(tf.relu(linear(x, w.fc1)), w.fc2))
      },

      finish(x, { final_layer_norm, project_out }) {
        const normed = final_layer_norm ? norm(x, final_layer_norm) : x
        return project_out ? linear(normed, project_out) : normed // [B, T, E]
      },
    },
    options,
  )
  return {
    ...language,
    hidden(weights, input) {
      const { position_ids = tf.sub(tf.cumsum(input.attention_mask, 1), tf.scalar(1, 'int32')) } = input
      return language.hidden(weights, { ...input, position_ids })
    },
  }
}

const linearShapes = (name: string, out: number, size: number): Record<string, number[]> => ({
  [`${name}.weight`]: [out, size],
  [`${name}.bias`]: [out],
})

const normShapes = (name: string, size: number): Record<string, number[]> => ({
  [`${name}.weight`]: [size],
  [`${name}.bias`]: [size],
})
