import * as tf from '@tensorflow/tfjs-core'
import type { Fields } from '../io/json.js'
import { conv2d, layerNorm, type Affine } from '../nn/index.js'
import type { TensorTree } from '../xla/index.js'
import { clipEncode, clipLayerShapes, type ClipEncoder } from './clip.js'

/** Fields of the vision_config of a SigLIP tower, under Hugging Face's names. */
export interface SiglipVisionConfig extends ClipEncoder {
  image_size: number
  patch_size: number
  num_channels: number
}

/** Reads and checks a vision_config of type siglip_vision_model.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function siglipVisionConfig(fields: Fields): SiglipVisionConfig {
  fields.only('model_type', 'siglip_vision_model')
  fields.only('hidden_act', 'gelu_pytorch_tanh')
  const config: SiglipVisionConfig = {
    hidden_size: fields.count('hidden_size', 768),
    intermediate_size: fields.count('intermediate_size', 3072),
    num_hidden_layers: fields.count('num_hidden_layers', 12),
    num_attention_heads: fields.count('num_attention_heads', 12),
    hidden_act: 'gelu_pytorch_tanh',
    layer_norm_eps: fields.number('layer_norm_eps', 1e-6),
    image_size: fields.count('image_size', 224),
    patch_size: fields.count('patch_size', 16),
    num_channels: fields.count('num_channels', 3),
  }
  if (config.hidden_size % config.num_attention_heads !== 0)
    fields.fail('hidden_size', `a multiple of ${config.num_attention_heads} heads`)
  return config
}

interface SiglipVision {
  embeddings: {
    patch_embedding: { weight: tf.Tensor; bias: tf.Tensor } // [C, channels, P, P], [C]
    position_embedding: { weight: tf.Tensor } // [patches, C]
  }
  encoder: { layers: TensorTree } // each tensor [L, …]
  post_layernorm: Affine // [C]
}

/** SiglipVisionModel without its pooling head.
 * @param pixels [B, channels, H, W]
 * @param remat compute what is inside a layer anew for the gradient
 * @returns last_hidden_state [B, patches, C]
 * @source transformers 5.23, models/siglip/modeling_siglip.py; arXiv 2303.15343 */
export function siglipVision(
  config: SiglipVisionConfig,
  weights: TensorTree,
  pixels: tf.Tensor,
  remat: boolean,
): tf.Tensor {
  const { encoder, post_layernorm } = weights as unknown as SiglipVision
  const hidden = clipEncode(config, encoder.layers, siglipEmbedded(config, weights, pixels), {}, remat)
  return layerNorm(hidden, post_layernorm, config.layer_norm_eps)
}

/** What its layers take.
 * @param pixels [B, channels, H, W]
 * @returns [B, patches, C] */
export function siglipEmbedded(config: SiglipVisionConfig, weights: TensorTree, pixels: tf.Tensor): tf.Tensor {
  const { patch_embedding, position_embedding } = (weights as unknown as SiglipVision).embeddings
  const grid = conv2d(tf.transpose(pixels, [0, 2, 3, 1]), patch_embedding, { stride: config.patch_size }) // [B, H/P, W/P, C]
  return tf.add(tf.reshape(grid, [pixels.shape[0], -1, config.hidden_size]), position_embedding.weight)
}

/** Shapes of its weights, below its name. */
export function siglipVisionShapes(config: SiglipVisionConfig): Record<string, number[]> {
  const { hidden_size: C, patch_size: P, image_size, num_channels } = config
  return {
    'embeddings.patch_embedding.weight': [C, num_channels, P, P],
    'embeddings.patch_embedding.bias': [C],
    'embeddings.position_embedding.weight': [Math.floor(image_size / P) ** 2, C],
    ...clipLayerShapes(config),
    'post_layernorm.weight': [C],
    'post_layernorm.bias': [C],
  }
}
