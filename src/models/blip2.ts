import * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import { imageProcessor } from '../io/imageProcessor.js'
import type { Fields } from '../io/json.js'
import { processorFields } from '../io/visionProcessor.js'
import { linear, type Conv2d, type Linear } from '../nn/index.js'
import { astype, typeOf, type TensorTree } from '../xla/index.js'
import { blip2Vision, blip2VisionConfig, blip2VisionShapes, type Blip2VisionConfig } from './blip2Vision.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { opt, optConfig, type OptConfig } from './opt.js'
import { parametersOf } from './parametersOf.js'
import { qFormer, qFormerConfig, qFormerShapes, type QFormerConfig } from './qFormer.js'
import { tileVision } from './tiles.js'
import type { Vision } from './vision.js'

/** Fields of config.json, under Hugging Face's names. */
export interface Blip2Config {
  text: OptConfig
  vision: Blip2VisionConfig
  qformer: QFormerConfig
  /** Tokens of a picture. */
  num_query_tokens: number
  image_token_index: number
}

/** Reads and checks a config.json of type blip-2.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function blip2Config(fields: Fields): Blip2Config {
  const text = fields.within('text_config')
  if (text.text('model_type', 'opt') !== 'opt')
    text.fail('model_type', '"opt": others, such as the encoder and decoder of Flan-T5, are not supported')
  const config = optConfig(text)
  if (config.word_embed_proj_dim !== config.hidden_size)
    text.fail('word_embed_proj_dim', `${config.hidden_size}, the width of features`)
  return {
    text: config,
    vision: blip2VisionConfig(fields.within('vision_config')),
    qformer: qFormerConfig(fields.within('qformer_config')),
    num_query_tokens: fields.count('num_query_tokens', 32),
    image_token_index: fields.count('image_token_index'),
  }
}

/** Blip2ForConditionalGeneration with OPT: a picture as a tile, seen by a ViT, of which the Q-Former's queries take what becomes the first tokens of
 * the text.
 * @source transformers 5.23, models/blip_2/modeling_blip_2.py; arXiv 2301.12597 */
export function blip2(config: Blip2Config, options?: ModelOptions): CausalModel {
  const language = opt(config.text, options, 'language_model.model.decoder')
  return {
    ...language,
    architecture: 'Blip2ForConditionalGeneration',
    parameters: [...language.parameters, ...visionParameters(config)],
    vision: vision(config, options),
    ignored: /^language_model\.lm_head\.weight$/,
  }
}

interface Weights {
  visual: {
    vision_model: TensorTree & { embeddings: { patch_embedding: Conv2d } }
    query_tokens: tf.Tensor // [1, Q, D], D the width of the Q-Former
    qformer: TensorTree
    language_projection: Linear // [C, D]
  }
}

function vision(config: Blip2Config, { gradient_checkpointing: remat = true }: ModelOptions = {}): Vision {
  const { image_token_index, num_query_tokens: units } = config
  const { image_size } = config.vision
  return {
    ...tileVision({ image_token_id: image_token_index, num_channels: 3, image_size, units }),

    async processor(dir, tokenizer) {
      const fields = await processorFields(dir, 'image_processor')
      const size = fields.within('size')
      for (const side of ['height', 'width'])
        if (size.count(side) !== image_size) size.fail(side, `${image_size}, what the tower takes`)
      const process = imageProcessor(fields, 'torchvision')
      const text = tokenizer.decode([image_token_index], { specials: true }).repeat(units)
      if (text === '')
        throw new Error(`${dir}: the tokenizer has no token ${image_token_index}, image_token_index of config.json. Save it with Blip2Processor.`) // prettier-ignore
      return {
        marks: {},
        image: image => ({ patches: process(image), grid: [1, image.height, image.width], text }),
      }
    },

    see(weights, { pixels }) {
      const { vision_model, query_tokens, qformer, language_projection } = (weights as unknown as Weights).visual
      const [N, tiles, ...one] = pixels!.shape as [number, number, number, number, number]
      const type = typeOf(vision_model.embeddings.patch_embedding.weight)
      const all = astype(tf.reshape(pixels!, [N * tiles, ...one]), type)
      const picture = blip2Vision(config.vision, vision_model, all, remat) // [N · tiles, 1 + patches, E]
      const asked = qFormer(config.qformer, qformer, query_tokens, picture, remat) // [N · tiles, Q, D]
      return tf.reshape(linear(asked, language_projection), [N, tiles * units, -1])
    },
  }
}

function visionParameters({ text, vision, qformer, num_query_tokens }: Blip2Config): Parameter[] {
  const { hidden_size: D, num_hidden_layers, cross_attention_frequency: step } = qformer
  const queries = Object.entries(qFormerShapes(qformer, vision.hidden_size)).map(([name, shape]) => ({
    name: `qformer.${name}`,
    path: `visual.qformer.${name.replace('layer.*', 'layers')}`,
    shape,
    ...(name.includes('.crossattention.') ? { layers: num_hidden_layers / step, step } : { layers: num_hidden_layers }),
  }))
  return [
    ...parametersOf(vision.num_hidden_layers, blip2VisionShapes(vision), 'vision_model.', 'visual.vision_model.'),
    { name: 'query_tokens', path: 'visual.query_tokens', shape: [1, num_query_tokens, D] },
    ...queries,
    { name: 'language_projection.weight', path: 'visual.language_projection.weight', shape: [text.hidden_size, D] },
    { name: 'language_projection.bias', path: 'visual.language_projection.bias', shape: [text.hidden_size] },
  ]
}
