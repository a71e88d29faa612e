import * as tf from '@tensorflow/tfjs-core'
import { clipReward } from './clipScorer.js'
import type { Reward } from './reward.js'

/** PickScore: exp(logit_scale) · cosine of the picture's and the prompt's vectors, under a CLIP model trained on people's choices.
 * @param modelDir yuvalkirstain/PickScore_v1 with the tokenizer and preprocessor_config.json of laion/CLIP-ViT-H-14-laion2B-s32B-b79K
 * @throws Error naming the file that is missing or does not fit, or a prompt that is no text
 * @source Kirstain et al. 2023, Pick-a-Pic, arXiv 2305.01569 */
export function pickScore(modelDir: string): Reward {
  return clipReward('pickScore', modelDir, () =>
    Promise.resolve(({ image_embeds, text_embeds, logit_scale }) =>
      tf.mul(tf.exp(logit_scale), tf.sum(tf.mul(image_embeds, text_embeds), 1)),
    ),
  )
}
