import * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import { loadGemma3Processor } from '../io/gemma3Processor.js'
import type { Fields } from '../io/json.js'
import { astype, typeOf, type TensorTree } from '../xla/index.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { gemma3, gemma3Config, gemmaNorm, type Gemma3Config } from './gemma3.js'
import { parametersOf } from './parametersOf.js'
import { siglipVision, siglipVisionConfig, siglipVisionShapes, type SiglipVisionConfig } from './siglip.js'
import { seeingName, tileVision } from './tiles.js'
import type { Vision } from './vision.js'

/** Fields of config.json, under Hugging Face's names. */
export interface Gemma3VlConfig {
  text: Gemma3Config
  vision: SiglipVisionConfig
  mm_tokens_per_image: number
  image_token_index: number
  /** Stand before and after the tokens of a picture. */
  boi_token_index: number
  eoi_token_index: number
}

/** Reads and checks a config.json of type gemma3.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function gemma3VlConfig(fields: Fields): Gemma3VlConfig {
  const vision = siglipVisionConfig(fields.within('vision_config'))
  const tokens = fields.count('mm_tokens_per_image', 256)
  const side = vision.image_size / vision.patch_size
  if (side % Math.sqrt(tokens) !== 0)
    fields.fail('mm_tokens_per_image', `the square of a divisor of ${side}, the patches of a side`)
  return {
    text: gemma3Config(fields.within('text_config')),
    vision,
    mm_tokens_per_image: tokens,
    image_token_index: fields.count('image_token_index', 262144),
    boi_token_index: fields.count('boi_token_index', 255999),
    eoi_token_index: fields.count('eoi_token_index', 256000),
  }
}

/** Gemma3ForConditionalGeneration: pictures as tiles of one size, seen by SigLIP, averaged to mm_tokens_per_image features, whose tokens see
 * one another in both directions.
 * @source transformers 5.23, models/gemma3/modeling_gemma3.py; arXiv 2503.19786 */
export function gemma3Vl(config: Gemma3VlConfig, options?: ModelOptions): CausalModel {
  const language = gemma3(config.text, options, 'model.language_model')
  const head = /^(model\.)?vision_tower\.(vision_model\.)?head\./ // which pools, for other tasks
  return {
    ...language,
    architecture: 'Gemma3ForConditionalGeneration',
    parameters: [...language.parameters, ...visionParameters(config)],
    vision: gemma3Vision(config, options),
    ignored: new RegExp(`${language.ignored!.source}|${head.source}`),
    others: head,
    nameOf: seeingName,
  }
}

interface Weights {
  visual: {
    vision_tower: TensorTree
    multi_modal_projector: {
      mm_soft_emb_norm: { weight: tf.Tensor } // [D], D the width of the tower
      mm_input_projection_weight: tf.Tensor // [D, C]
    }
  }
}

function gemma3Vision(config: Gemma3VlConfig, { gradient_checkpointing: remat = true }: ModelOptions = {}): Vision {
  const { vision, mm_tokens_per_image: units, image_token_index } = config
  const side = vision.image_size / vision.patch_size // patches
  const tokens = Math.sqrt(units) // of a side
  return {
    ...tileVision({ ...vision, image_token_id: image_token_index, units, bidirectional: true }),

    async processor(dir, tokenizer) {
      const process = await loadGemma3Processor(dir)
      const token = (id: number) => tokenizer.decode([id], { specials: true })
      const mark = token(config.boi_token_index)
      const one = `\n\n${mark}${token(image_token_index).repeat(units)}${token(config.eoi_token_index)}\n\n`
      return {
        marks: { image: mark },
        image(image) {
          const { patches, tiles } = process(image)
          const crops = Array<string>(tiles - 1).fill(one)
          const text = `Here is the original image ${one} and here are some crops to help you see better ${crops.join(' ')}`
          return { patches, grid: [tiles, image.height, image.width], text: tiles > 1 ? text : one }
        },
      }
    },

    see(weights, { pixels }) {
      const { vision_tower, multi_modal_projector: projector } = (weights as unknown as Weights).visual
      const projection = projector.mm_input_projection_weight
      const [N, tiles, ...one] = pixels!.shape as [number, number, number, number, number]
      const all = astype(tf.reshape(pixels!, [N * tiles, ...one]), typeOf(projection))
      const hidden = siglipVision(vision, vision_tower, all, remat) // [N · tiles, patches, D]
      const D = vision.hidden_size
      const squares = tf.reshape(hidden, [-1, tokens, side / tokens, tokens, side / tokens, D])
      const pooled = tf.reshape(tf.mean(squares, [2, 4]), [-1, D]) // [N · M, D]
      const normed = gemmaNorm(pooled, projector.mm_soft_emb_norm.weight, vision.layer_norm_eps)
      return tf.reshape(tf.matMul(normed, projection), [N, tiles * units, -1])
    },
  }
}

function visionParameters({ text, vision }: Gemma3VlConfig): Parameter[] {
  const under = (module: string, shapes: Record<string, number[]>) =>
    parametersOf(vision.num_hidden_layers, shapes, `model.${module}.`, `visual.${module}.`)
  return [
    ...under('vision_tower', siglipVisionShapes(vision)),
    ...under('multi_modal_projector', {
      'mm_soft_emb_norm.weight': [vision.hidden_size],
      mm_input_projection_weight: [vision.hidden_size, text.hidden_size],
    }),
  ]
}
