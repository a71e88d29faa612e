import * as tf from '@tensorflow/tfjs-core'
import { clipReward } from './clipScorer.js'
import type { Reward } from './reward.js'

/** Cosine of the picture's and the prompt's vectors under a CLIP model, in −1 … 1. A prompt of more tokens than the model takes is cut.
 * @param modelDir a CLIPModel as transformers saves it, with its tokenizer and preprocessor_config.json
 * @throws Error naming the file that is missing or does not fit, or a prompt that is no text
 * @source Radford et al. 2021, arXiv 2103.00020 */
export function clipSimilarity(modelDir: string): Reward {
  return clipReward('clipSimilarity', modelDir, () =>
    Promise.resolve(({ image_embeds, text_embeds }) => tf.sum(tf.mul(image_embeds, text_embeds), 1)),
  )
}
