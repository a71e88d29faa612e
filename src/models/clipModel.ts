import * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import type { Fields } from '../io/json.js'
import type { TensorTree } from '../xla/index.js'
import { clipText, clipTextConfig, clipVision, clipVisionConfig, type ClipTextConfig, type ClipVisionConfig } from './clip.js' // prettier-ignore
import type { ForwardModel } from './forwardModel.js'

export interface ClipModelConfig {
  text: ClipTextConfig
  vision: ClipVisionConfig
}

/** Reads and checks the config.json of a CLIPModel.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function clipModelConfig(fields: Fields): ClipModelConfig {
  const projection_dim = fields.count('projection_dim', 512)
  return {
    text: { ...clipTextConfig(fields.within('text_config')), projection_dim },
    vision: { ...clipVisionConfig(fields.within('vision_config')), projection_dim },
  }
}

/** CLIPModel, both towers: `input_ids` and `attention_mask` of texts [N, T], `pixel_values` of pictures [B, channels, H, W] →
 * `text_embeds` [N, projection] and `image_embeds` [B, projection] of length 1, `logits_per_image` [B, N], their cosines times
 * exp(logit_scale), and `logits_per_text` [N, B].
 * @source transformers 5.23, models/clip/modeling_clip.py; arXiv 2103.00020 */
export function clipModel(config: ClipModelConfig): ForwardModel {
  const [text, vision] = [clipText(config.text), clipVision(config.vision)]
  return {
    architecture: 'CLIPModel',
    parameters: [
      ...under('text_model', text.parameters),
      ...under('vision_model', vision.parameters),
      { name: 'logit_scale', path: 'logit_scale', shape: [] },
    ],
    ignored: /position_ids$/,
    inputs: { ...ofTexts(text.inputs), ...vision.inputs },

    forward(weights, { input_ids, attention_mask, pixel_values }): Record<string, tf.Tensor> {
      const w = weights as unknown as { text_model: TensorTree; vision_model: TensorTree; logit_scale: tf.Tensor }
      const texts = text.forward(w.text_model, { input_ids: input_ids!, ...(attention_mask ? { attention_mask } : {}) })
      const images = vision.forward(w.vision_model, { pixel_values: pixel_values! })
      const [text_embeds, image_embeds] = [unit(texts['text_embeds']!), unit(images['image_embeds']!)]
      const logits_per_image = tf.mul(tf.matMul(image_embeds, text_embeds, false, true), tf.exp(w.logit_scale))
      return { logits_per_image, logits_per_text: tf.transpose(logits_per_image), text_embeds, image_embeds }
    },
  }
}

/** A tower's parameters in the whole model, where the projections lie beside the towers. */
const under = (tower: string, parameters: readonly Parameter[]): Parameter[] =>
  parameters.map(({ name, path, ...rest }) => ({
    ...rest,
    name: /^(?:text|visual)_projection\./.test(name) ? name : `${tower}.${name}`,
    path: `${tower}.${path}`,
  }))

/** The text tower's inputs, whose rows are other ones than the pictures'. */
const ofTexts = (inputs: ForwardModel['inputs']): ForwardModel['inputs'] =>
  Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, { ...input, shape: ['texts', 'tokens'] }]))

/** x / ‖x‖ of the last axis. */
const unit = (x: tf.Tensor): tf.Tensor => tf.div(x, tf.norm(x, 'euclidean', -1, true))
