import * as tf from '@tensorflow/tfjs-core'
import { imageProcessor } from '../io/imageProcessor.js'
import type { Fields } from '../io/json.js'
import { processorFields } from '../io/visionProcessor.js'
import { gelu, geluTanh, linear, type Linear } from '../nn/index.js'
import { astype, typeOf, type TensorTree } from '../xla/index.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { clipEmbedded, clipStates, clipVisionConfig, clipVisionShapes, type ClipVisionConfig } from './clip.js'
import { llama, llamaConfig, type LlamaConfig } from './llama.js'
import { parametersOf } from './parametersOf.js'
import { qwen2, qwen2Config, type Qwen2Config } from './qwen2.js'
import { siglipEmbedded, siglipVisionConfig, siglipVisionShapes, type SiglipVisionConfig } from './siglip.js'
import { seeingName, tileVision } from './tiles.js'
import type { Vision } from './vision.js'

/** Fields of config.json, under Hugging Face's names. */
export interface LlavaConfig {
  text: { model_type: 'llama'; config: LlamaConfig } | { model_type: 'qwen2'; config: Qwen2Config }
  vision:
    | { model_type: 'clip_vision_model'; config: ClipVisionConfig }
    | { model_type: 'siglip_vision_model'; config: SiglipVisionConfig }
  /** After how many layers of the tower its states are taken; of several, all go into the projector side by side. */
  depths: readonly number[]
  /** `default` leaves the class token out, the first of CLIP's. */
  vision_feature_select_strategy: 'default' | 'full'
  projector_hidden_act: keyof typeof ACTIVATIONS
  multimodal_projector_bias: boolean
  image_token_index: number
}

const ACTIVATIONS = { gelu, gelu_pytorch_tanh: geluTanh }

/** What transformers takes for fields of a Llama that a config.json leaves out. */
const VICUNA = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
}

/** Reads and checks a config.json of type llava.
 * @param usual what the family takes where a field is left out
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function llavaConfig(
  fields: Fields,
  usual = { text: 'llama', vision: 'clip_vision_model', layer: -2, strategy: 'default', image_token_index: 32000 },
): LlavaConfig {
  const [textFields, visionFields] = [fields.within('text_config'), fields.within('vision_config')]
  fields.only('vision_feature_select_strategy', 'default', 'full')
  fields.only('projector_hidden_act', ...Object.keys(ACTIVATIONS))
  const text = textConfig(textFields, textFields.text('model_type', usual.text))
  text.config.tie_word_embeddings ||= fields.flag('tie_word_embeddings', false)
  const vision = towerConfig(visionFields, visionFields.text('model_type', usual.vision))
  return {
    text,
    vision,
    depths: depthsOf(fields, usual.layer, vision.config.num_hidden_layers),
    vision_feature_select_strategy: fields.text('vision_feature_select_strategy', usual.strategy) as 'default' | 'full',
    projector_hidden_act: fields.text('projector_hidden_act', 'gelu') as keyof typeof ACTIVATIONS,
    multimodal_projector_bias: fields.flag('multimodal_projector_bias', true),
    image_token_index: fields.count('image_token_index', usual.image_token_index),
  }
}

function textConfig(fields: Fields, model_type: string): LlavaConfig['text'] {
  switch (model_type) {
    case 'llama':
      return { model_type, config: llamaConfig(fields, VICUNA) }
    case 'qwen2':
      return { model_type, config: qwen2Config(fields) }
    default:
      return fields.fail('model_type', '"llama" or "qwen2"')
  }
}

function towerConfig(fields: Fields, model_type: string): LlavaConfig['vision'] {
  switch (model_type) {
    case 'clip_vision_model':
      return { model_type, config: clipVisionConfig(fields) }
    case 'siglip_vision_model':
      return { model_type, config: siglipVisionConfig(fields) }
    default:
      return fields.fail('model_type', '"clip_vision_model" or "siglip_vision_model"')
  }
}

/** `vision_feature_layer`, one or several, counted from the embeddings or, below 0, from the last layer. */
function depthsOf(fields: Fields, usual: number, layers: number): number[] {
  const given = [fields.get('vision_feature_layer') ?? usual].flat()
  const sound = (layer: unknown) => Number.isInteger(layer) && Math.abs((layer as number) + 0.5) < layers + 1
  if (given.length === 0 || !given.every(sound))
    fields.fail('vision_feature_layer', `integers from ${-layers - 1} to ${layers}`)
  return (given as number[]).map(layer => (layer < 0 ? layers + 1 + layer : layer))
}

/** LlavaForConditionalGeneration: pictures as tiles of one size, states of whose patches in a late layer of CLIP's tower (or SigLIP's) go through
 * two linear layers to the width of the language model.
 * @source transformers 5.23, models/llava/modeling_llava.py; arXiv 2310.03744 */
export function llava(config: LlavaConfig, options?: ModelOptions): CausalModel {
  return {
    ...llavaParts(config, options),
    architecture: 'LlavaForConditionalGeneration',
    vision: llavaVision(config, options),
  }
}

/** What is common to LLaVA's models: the language model, the parameters of all, their names in checkpoints. */
export function llavaParts({ text, ...config }: LlavaConfig, options?: ModelOptions): CausalModel {
  const prefix = 'model.language_model'
  const language =
    text.model_type === 'llama' ? llama(text.config, options, prefix) : qwen2(text.config, options, prefix)
  const { vision, depths, multimodal_projector_bias: bias } = config
  const [D, C] = [vision.config.hidden_size, text.config.hidden_size]
  const layer = (name: string, size: number) => ({
    [`${name}.weight`]: [C, size],
    ...(bias ? { [`${name}.bias`]: [C] } : {}),
  })
  const tower = vision.model_type === 'clip_vision_model' ? clipVisionShapes(vision.config) : siglipVisionShapes(vision.config) // prettier-ignore
  const under = (module: string, shapes: Record<string, number[]>) =>
    parametersOf(vision.config.num_hidden_layers, shapes, `model.${module}.`, `visual.${module}.`)
  const pooling = /^(model\.)?vision_tower\.(vision_model\.)?head\./ // SigLIP's, for other tasks
  return {
    ...language,
    parameters: [
      ...language.parameters,
      ...under('vision_tower', tower),
      ...under('multi_modal_projector', { ...layer('linear_1', D * depths.length), ...layer('linear_2', C) }),
    ],
    ignored: new RegExp(`${language.ignored!.source}|position_ids$|${pooling.source}`),
    others: pooling,
    nameOf: seeingName,
  }
}

interface Weights {
  visual: {
    vision_tower: TensorTree & {
      embeddings: { patch_embedding: { weight: tf.Tensor } }
      encoder: { layers: TensorTree }
    }
    multi_modal_projector: { linear_1: Linear; linear_2: Linear } // [C, D · layers], [C, C]
  }
}

/** Patches of a tile that become features. */
export function unitsOfTile({
  vision: { model_type, config },
  vision_feature_select_strategy: strategy,
}: LlavaConfig): number {
  const classToken = model_type === 'clip_vision_model' ? 1 : 0
  return Math.floor(config.image_size / config.patch_size) ** 2 + classToken - (strategy === 'default' ? 1 : 0)
}

/** Features of tiles.
 * @param pixels [B, channels, H, W]
 * @returns [B, units, C] */
export function llavaFeatures(
  config: LlavaConfig,
  weights: TensorTree,
  pixels: tf.Tensor,
  { gradient_checkpointing: remat = true }: ModelOptions = {},
): tf.Tensor {
  const { vision, depths, vision_feature_select_strategy: strategy } = config
  const { vision_tower, multi_modal_projector: projector } = (weights as unknown as Weights).visual
  const given = astype(pixels, typeOf(vision_tower.embeddings.patch_embedding.weight))
  const embedded = vision.model_type === 'clip_vision_model' ? clipEmbedded(vision.config, vision_tower, given) : siglipEmbedded(vision.config, vision_tower, given) // prettier-ignore
  const states = tf.concat(clipStates(vision.config, vision_tower.encoder.layers, embedded, depths, remat), 2) // [B, patches, D · layers]
  const chosen = strategy === 'default' ? tf.slice(states, [0, 1, 0]) : states // [B, units, D · layers]
  const activation = ACTIVATIONS[config.projector_hidden_act]
  return linear(activation(linear(chosen, projector.linear_1)), projector.linear_2)
}

function llavaVision(config: LlavaConfig, options?: ModelOptions): Vision {
  const { vision, image_token_index } = config
  const { image_size } = vision.config
  const units = unitsOfTile(config)
  return {
    ...tileVision({ ...vision.config, image_token_id: image_token_index, units }),

    async processor(dir, tokenizer) {
      const fields = await processorFields(dir, 'image_processor')
      const process = imageProcessor(fields, 'torchvision')
      if (process.width !== image_size || process.height !== image_size)
        fields.fail(
          fields.has('crop_size') ? 'crop_size' : 'size',
          `${image_size} × ${image_size}, what the tower takes`,
        )
      const mark = tokenizer.decode([image_token_index], { specials: true })
      const text = mark.repeat(units)
      return {
        marks: { image: mark },
        image: image => ({ patches: process(image), grid: [1, image.height, image.width], text }),
      }
    },

    see(weights, { pixels }) {
      const [N, tiles, ...one] = pixels!.shape as [number, number, number, number, number]
      const features = llavaFeatures(config, weights, tf.reshape(pixels!, [N * tiles, ...one]), options) // [N · tiles, units, C]
      return tf.reshape(features, [N, tiles * units, -1])
    },
  }
}
