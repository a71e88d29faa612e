import * as tf from '@tensorflow/tfjs-core'
import type { Fields } from '../io/json.js'
import {
  attention,
  conv2d,
  gelu,
  geluTanh,
  layerNorm,
  linear,
  quickGelu,
  type AttentionMask,
  type Linear,
} from '../nn/index.js'
import { mapTensors, scan, type TensorTree } from '../xla/index.js'
import type { ForwardModel } from './forwardModel.js'
import { parametersOf } from './parametersOf.js'

/** The layers of CLIP, and of towers built alike; fields of config.json, under Hugging Face's names. */
export interface ClipEncoder {
  hidden_size: number
  intermediate_size: number
  num_hidden_layers: number
  num_attention_heads: number
  hidden_act: keyof typeof ACTIVATIONS
  layer_norm_eps: number
}

const ACTIVATIONS = { quick_gelu: quickGelu, gelu, gelu_pytorch_tanh: geluTanh }

/** What the two towers share. */
interface ClipConfig extends ClipEncoder {
  /** Size of the space that texts and images share; null for a tower without the projection to it. */
  projection_dim: number | null
}

export interface ClipTextConfig extends ClipConfig {
  vocab_size: number
  max_position_embeddings: number
  eos_token_id: number
}

export interface ClipVisionConfig extends ClipConfig {
  image_size: number
  patch_size: number
  num_channels: number
}

interface ClipTower {
  embeddings: {
    token_embedding: { weight: tf.Tensor } // [V, C]
    position_embedding: { weight: tf.Tensor } // [positions, C]
    class_embedding: tf.Tensor // [C]
    patch_embedding: { weight: tf.Tensor } // [C, channels, P, P]
  }
  encoder: { layers: TensorTree } // ClipLayer, each tensor [L, …]
  pre_layrnorm: Norm // the checkpoints' spelling
  post_layernorm: Norm
  final_layer_norm: Norm
  text_projection?: Linear // [projection, C]
  visual_projection?: Linear
}

interface ClipLayer {
  layer_norm1: Norm
  self_attn: { q_proj: Linear; k_proj: Linear; v_proj: Linear; out_proj: Linear } // [C, C] each
  layer_norm2: Norm
  mlp: { fc1: Linear; fc2: Linear } // [I, C], [C, I]
}

type Norm = { weight: tf.Tensor; bias: tf.Tensor } // [C] each

/** Reads and checks the config.json of a CLIPTextModel or a CLIPTextModelWithProjection.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function clipTextConfig(fields: Fields): ClipTextConfig {
  return {
    ...clipConfig(fields, 'CLIPTextModelWithProjection', 8),
    vocab_size: fields.count('vocab_size', 49408),
    max_position_embeddings: fields.count('max_position_embeddings', 77),
    eos_token_id: fields.count('eos_token_id', 49407),
  }
}

/** Reads and checks the config.json of a CLIPVisionModel or a CLIPVisionModelWithProjection.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function clipVisionConfig(fields: Fields): ClipVisionConfig {
  return {
    ...clipConfig(fields, 'CLIPVisionModelWithProjection', 12),
    image_size: fields.count('image_size', 224),
    patch_size: fields.count('patch_size', 32),
    num_channels: fields.count('num_channels', 3),
  }
}

function clipConfig(fields: Fields, projected: string, heads: number): ClipConfig {
  fields.only('hidden_act', 'quick_gelu', 'gelu')
  const architectures = fields.get('architectures')
  const config: ClipConfig = {
    hidden_size: fields.count('hidden_size', 64 * heads),
    intermediate_size: fields.count('intermediate_size', 256 * heads),
    num_hidden_layers: fields.count('num_hidden_layers', 12),
    num_attention_heads: fields.count('num_attention_heads', heads),
    hidden_act: fields.text('hidden_act', 'quick_gelu') as ClipConfig['hidden_act'],
    layer_norm_eps: fields.number('layer_norm_eps', 1e-5),
    projection_dim:
      Array.isArray(architectures) && architectures[0] === projected ? fields.count('projection_dim', 512) : null,
  }
  if (config.hidden_size % config.num_attention_heads !== 0)
    fields.fail('hidden_size', `a multiple of ${config.num_attention_heads} heads`)
  return config
}

/** CLIPTextModel: `input_ids` [B, T], `attention_mask` [B, T] → `last_hidden_state` [B, T, C] and `pooler_output` [B, C], the place
 * of the end of the text; with projection, `text_embeds` [B, projection] in the latter's place.
 * @source transformers 5.23, models/clip/modeling_clip.py; arXiv 2103.00020 */
export function clipText(config: ClipTextConfig): ForwardModel {
  const { hidden_size: C, vocab_size, max_position_embeddings, projection_dim, layer_norm_eps, eos_token_id } = config
  return {
    architecture: projection_dim === null ? 'CLIPTextModel' : 'CLIPTextModelWithProjection',
    parameters: parametersOf(config.num_hidden_layers, {
      'embeddings.token_embedding.weight': [vocab_size, C],
      'embeddings.position_embedding.weight': [max_position_embeddings, C],
      ...clipLayerShapes(config),
      ...normShapes('final_layer_norm', C),
      ...(projection_dim === null ? {} : { 'text_projection.weight': [projection_dim, C] }),
    }),
    prefix: 'text_model.',
    ignored: /position_ids$/,
    inputs: {
      input_ids: { type: 'int32', shape: ['rows', 'tokens'], below: vocab_size },
      attention_mask: { type: 'int32', shape: ['rows', 'tokens'], optional: true },
    },

    forward(weights, { input_ids, attention_mask }): Record<string, tf.Tensor> {
      const w = weights as unknown as ClipTower
      const length = input_ids!.shape[1]!
      if (length > max_position_embeddings)
        throw new Error(`CLIP: ${length} tokens a row, needed at most ${max_position_embeddings}. Truncate the text.`)
      const { token_embedding, position_embedding } = w.embeddings
      const positions = tf.slice(position_embedding.weight, 0, length) // [T, C]
      const x = tf.add(tf.gather(token_embedding.weight, input_ids!), positions) // [B, T, C]
      const hidden = clipEncode(config, w.encoder.layers, x, { causal: true, keyMask: attention_mask })
      const last_hidden_state = layerNorm(hidden, w.final_layer_norm, layer_norm_eps)
      // Configurations older than transformers 4.31 say 2 whatever the token is; it is the vocabulary's last.
      const isEnd = eos_token_id === 2 ? input_ids! : tf.cast(tf.equal(input_ids!, eos_token_id), 'int32')
      const end = tf.argMax(isEnd, 1) // [B], the first place of several
      const pooler_output = tf.squeeze(tf.gather(last_hidden_state, tf.expandDims(end, 1), 1, 1), [1]) // [B, C]
      if (!w.text_projection) return { last_hidden_state, pooler_output }
      return { last_hidden_state, text_embeds: linear(pooler_output, w.text_projection) }
    },
  }
}

/** CLIPVisionModel: `pixel_values` [B, channels, H, W], normalised → `last_hidden_state` [B, 1 + patches, C] and `pooler_output`
 * [B, C], the class token; with projection, `image_embeds` [B, projection] in the latter's place.
 * @source transformers 5.23, models/clip/modeling_clip.py; arXiv 2103.00020 */
export function clipVision(config: ClipVisionConfig): ForwardModel {
  const { hidden_size: C, image_size, num_channels, projection_dim, layer_norm_eps } = config
  return {
    architecture: projection_dim === null ? 'CLIPVisionModel' : 'CLIPVisionModelWithProjection',
    parameters: parametersOf(config.num_hidden_layers, {
      ...clipVisionShapes(config),
      ...(projection_dim === null ? {} : { 'visual_projection.weight': [projection_dim, C] }),
    }),
    prefix: 'vision_model.',
    ignored: /position_ids$/,
    inputs: { pixel_values: { type: 'float32', shape: ['images', num_channels, image_size, image_size] } },

    forward(weights, { pixel_values }): Record<string, tf.Tensor> {
      const w = weights as unknown as ClipTower
      const last_hidden_state = clipEncode(config, w.encoder.layers, clipEmbedded(config, weights, pixel_values!))
      const classToken = tf.squeeze(tf.slice(last_hidden_state, [0, 0, 0], [-1, 1, -1]), [1]) // [B, C]
      const pooler_output = layerNorm(classToken, w.post_layernorm, layer_norm_eps)
      if (!w.visual_projection) return { last_hidden_state, pooler_output }
      return { last_hidden_state, image_embeds: linear(pooler_output, w.visual_projection) }
    },
  }
}

/** What the layers of the vision tower take: the class token, then patches.
 * @param pixels [B, channels, H, W]
 * @returns [B, 1 + patches, C] */
export function clipEmbedded(config: ClipVisionConfig, weights: TensorTree, pixels: tf.Tensor): tf.Tensor {
  const { embeddings, pre_layrnorm } = weights as unknown as ClipTower
  const { hidden_size: C, patch_size, layer_norm_eps } = config
  const b = pixels.shape[0]
  const grid = conv2d(tf.transpose(pixels, [0, 2, 3, 1]), embeddings.patch_embedding, { stride: patch_size }) // [B, H/P, W/P, C]
  const first = tf.tile(tf.reshape(embeddings.class_embedding, [1, 1, C]), [b, 1, 1])
  const tokens = tf.concat([first, tf.reshape(grid, [b, -1, C])], 1) // [B, 1 + patches, C]
  return layerNorm(tf.add(tokens, embeddings.position_embedding.weight), pre_layrnorm, layer_norm_eps)
}

/** Hidden states of a tower after so many of its layers each; none is run behind the last of them.
 * @param x [B, T, C], what the layers take
 * @param remat as of {@link clipEncode}
 * @returns [B, T, C] of each depth */
export function clipStates(
  config: ClipEncoder,
  layers: TensorTree,
  x: tf.Tensor,
  depths: readonly number[],
  remat: boolean,
): tf.Tensor[] {
  const states = new Map([[0, x]])
  let done = 0
  for (const depth of [...depths].sort((a, b) => a - b))
    if (depth > done) {
      const part = mapTensors(layers, t => tf.slice(t, done, depth - done))
      states.set(depth, clipEncode(config, part, states.get(done)!, {}, remat))
      done = depth
    }
  return depths.map(depth => states.get(depth)!)
}

/** The layers of a tower on x [B, T, C].
 * @param layers each tensor [L, …]
 * @param remat compute what is inside a layer anew for the gradient */
export function clipEncode(
  config: ClipEncoder,
  layers: TensorTree,
  x: tf.Tensor,
  mask: AttentionMask = {},
  remat = false,
): tf.Tensor {
  const { num_attention_heads: H, hidden_size: C, layer_norm_eps: eps, hidden_act } = config
  const activation = ACTIVATIONS[hidden_act]
  const [b, t] = x.shape as [number, number]

  function layer(x: tf.Tensor, weights: TensorTree): [tf.Tensor, null] {
    const { layer_norm1, self_attn, layer_norm2, mlp } = weights as unknown as ClipLayer
    const { q_proj, k_proj, v_proj, out_proj } = self_attn
    const normed = layerNorm(x, layer_norm1, eps)
    const heads = (p: Linear) => tf.reshape(linear(normed, p), [b, t, H, C / H])
    const [k, v] = [k_proj, v_proj].map(p => tf.transpose(heads(p), [0, 2, 1, 3])) as [tf.Tensor, tf.Tensor] // [B, H, T, D]
    const mid = tf.add(x, linear(attention(heads(q_proj), k, v, mask), out_proj)) // [B, T, C]
    const wide = activation(linear(layerNorm(mid, layer_norm2, eps), mlp.fc1)) // [B, T, I]
    return [tf.add(mid, linear(wide, mlp.fc2)), null]
  }
  return scan(layer, x, layers, { remat })[0]
}

type Shapes = Record<string, number[]>

const normShapes = (name: string, C: number): Shapes => ({ [`${name}.weight`]: [C], [`${name}.bias`]: [C] })

/** Shapes of the vision tower's weights, below its name. */
export function clipVisionShapes(config: ClipVisionConfig): Shapes {
  const { hidden_size: C, patch_size: P, image_size, num_channels } = config
  return {
    'embeddings.class_embedding': [C],
    'embeddings.patch_embedding.weight': [C, num_channels, P, P],
    'embeddings.position_embedding.weight': [Math.floor(image_size / P) ** 2 + 1, C],
    ...normShapes('pre_layrnorm', C),
    ...clipLayerShapes(config),
    ...normShapes('post_layernorm', C),
  }
}

/** Shapes of a tower's layers, below its name. */
export function clipLayerShapes({ hidden_size: C, intermediate_size: I }: ClipEncoder): Shapes {
  const at = 'encoder.layers.*'
  const layer = (name: string, out: number, size: number): Shapes => ({
    [`${at}.${name}.weight`]: [out, size],
    [`${at}.${name}.bias`]: [out],
  })
  return {
    ...normShapes(`${at}.layer_norm1`, C),
    ...layer('self_attn.q_proj', C, C),
    ...layer('self_attn.k_proj', C, C),
    ...layer('self_attn.v_proj', C, C),
    ...layer('self_attn.out_proj', C, C),
    ...normShapes(`${at}.layer_norm2`, C),
    ...layer('mlp.fc1', I, C),
    ...layer('mlp.fc2', C, I),
  }
}
