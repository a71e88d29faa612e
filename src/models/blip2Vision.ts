import * as tf from '@tensorflow/tfjs-core'
import type { Fields } from '../io/json.js'
import { attention, conv2d, gelu, layerNorm, linear, type Affine, type Conv2d, type Linear } from '../nn/index.js'
import { scan, type TensorTree } from '../xla/index.js'

/** Fields of the vision_config of BLIP-2, under Hugging Face's names. */
export interface Blip2VisionConfig {
  hidden_size: number // C
  intermediate_size: number // I
  num_hidden_layers: number // L
  num_attention_heads: number // H
  image_size: number
  patch_size: number // P
  layer_norm_eps: number
  qkv_bias: boolean
}

/** Reads and checks a vision_config of type blip_2_vision_model.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function blip2VisionConfig(fields: Fields): Blip2VisionConfig {
  fields.only('model_type', 'blip_2_vision_model')
  fields.only('hidden_act', 'gelu')
  const config = {
    hidden_size: fields.count('hidden_size', 1408),
    intermediate_size: fields.count('intermediate_size', 6144),
    num_hidden_layers: fields.count('num_hidden_layers', 39),
    num_attention_heads: fields.count('num_attention_heads', 16),
    image_size: fields.count('image_size', 224),
    patch_size: fields.count('patch_size', 14),
    layer_norm_eps: fields.number('layer_norm_eps', 1e-6),
    qkv_bias: fields.flag('qkv_bias', true),
  }
  if (config.hidden_size % config.num_attention_heads !== 0)
    fields.fail('hidden_size', `a multiple of ${config.num_attention_heads} heads`)
  return config
}

interface Tower {
  embeddings: {
    class_embedding: tf.Tensor // [1, 1, C]
    patch_embedding: Conv2d // [C, 3, P, P]
    position_embedding: tf.Tensor // [1, 1 + patches, C]
  }
  encoder: { layers: TensorTree } // TowerLayer, each tensor [L, …]
  post_layernorm: Affine // [C]
}

interface TowerLayer {
  layer_norm1: Affine // [C]
  self_attn: { qkv: Linear; projection: Linear } // [3C, C], [C, C]
  layer_norm2: Affine // [C]
  mlp: { fc1: Linear; fc2: Linear } // [I, C], [C, I]
}

/** Blip2VisionModel: a ViT with a class token, each layer of which norms what it takes.
 * @param pixels [B, 3, H, W]
 * @param remat compute what is inside a layer anew for the gradient
 * @returns last_hidden_state [B, 1 + patches, C]
 * @source transformers 5.23, models/blip_2/modeling_blip_2.py; EVA, arXiv 2211.07636 */
export function blip2Vision(
  config: Blip2VisionConfig,
  weights: TensorTree,
  pixels: tf.Tensor,
  remat: boolean,
): tf.Tensor {
  const { hidden_size: C, num_attention_heads: H, patch_size, layer_norm_eps: eps } = config
  const { embeddings, encoder, post_layernorm } = weights as unknown as Tower
  const b = pixels.shape[0]
  const grid = conv2d(tf.transpose(pixels, [0, 2, 3, 1]), embeddings.patch_embedding, { stride: patch_size }) // [B, H/P, W/P, C]
  const tokens = tf.concat([tf.tile(embeddings.class_embedding, [b, 1, 1]), tf.reshape(grid, [b, -1, C])], 1)

  function layer(x: tf.Tensor, weights: TensorTree): [tf.Tensor, null] {
    const { layer_norm1, self_attn, layer_norm2, mlp } = weights as unknown as TowerLayer
    const qkv = tf.reshape(linear(layerNorm(x, layer_norm1, eps), self_attn.qkv), [b, -1, 3, H, C / H])
    const [q, k, v] = tf.unstack(qkv, 2) as [tf.Tensor, tf.Tensor, tf.Tensor] // [B, S, H, D]
    const turned = (x: tf.Tensor) => tf.transpose(x, [0, 2, 1, 3]) // [B, H, S, D]
    const mid = tf.add(x, linear(attention(q, turned(k), turned(v)), self_attn.projection)) // [B, S, C]
    const wide = gelu(linear(layerNorm(mid, layer_norm2, eps), mlp.fc1)) // [B, S, I]
    return [tf.add(mid, linear(wide, mlp.fc2)), null]
  }
  const [last] = scan(layer, tf.add(tokens, embeddings.position_embedding), encoder.layers, { remat })
  return layerNorm(last, post_layernorm, eps)
}

/** Shapes of its weights, below its name. */
export function blip2VisionShapes(config: Blip2VisionConfig): Record<string, number[]> {
  const { hidden_size: C, intermediate_size: I, patch_size: P, image_size } = config
  const at = 'encoder.layers.*'
  return {
    'embeddings.class_embedding': [1, 1, C],
    'embeddings.patch_embedding.weight': [C, 3, P, P],
    'embeddings.patch_embedding.bias': [C],
    'embeddings.position_embedding': [1, Math.floor(image_size / P) ** 2 + 1, C],
    [`${at}.layer_norm1.weight`]: [C],
    [`${at}.layer_norm1.bias`]: [C],
    [`${at}.self_attn.qkv.weight`]: [3 * C, C],
    ...(config.qkv_bias ? { [`${at}.self_attn.qkv.bias`]: [3 * C] } : {}),
    [`${at}.self_attn.projection.weight`]: [C, C],
    [`${at}.self_attn.projection.bias`]: [C],
    [`${at}.layer_norm2.weight`]: [C],
    [`${at}.layer_norm2.bias`]: [C],
    [`${at}.mlp.fc1.weight`]: [I, C],
    [`${at}.mlp.fc1.bias`]: [I],
    [`${at}.mlp.fc2.weight`]: [C, I],
    [`${at}.mlp.fc2.bias`]: [C],
    'post_layernorm.weight': [C],
    'post_layernorm.bias': [C],
  }
}
