import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { modelDirectory } from '../io/hub.js'
import { loadImageProcessor } from '../io/imageProcessor.js'
import type { RgbImage } from '../io/images.js'
import { Fields, readJson } from '../io/json.js'
import { loadTokenizer, paddedIds } from '../io/tokenizer.js'
import { clipModelConfig, loadForwardModel } from '../models/index.js'
import { disposeTree, jit, start, type TensorTree } from '../xla/index.js'
import { readColumn, type Reward } from './reward.js'
import { scorePictures } from './scorePictures.js'

/** What a CLIP model makes of B pictures and a text for each, vectors of length 1. */
export interface ClipOutputs {
  image_embeds: tf.Tensor // [B, projection]
  text_embeds: tf.Tensor // [B, projection]
  logit_scale: tf.Tensor // scalar, before exp
}

/** A reward from what a CLIPModel makes of each picture and of the text of its prompt (an edit's instruction). The directory (weights, tokenizer,
 * preprocessor_config.json) is read at the first batch and kept.
 * @param name the reward's, for errors
 * @param measure from the model's outputs to scores [B], in one program with it; loaded after the model
 * @param options.text false where `measure` reads no text: prompts may be anything */
export function clipReward(
  name: string,
  modelDir: string,
  measure: () => Promise<(outputs: ClipOutputs) => tf.Tensor>,
  { text = true } = {},
): Reward {
  let loading: ReturnType<typeof load> | undefined
  return batch => {
    const texts = text ? readColumn(name, batch, 'prompts') : batch.completions.map(() => '')
    return scorePictures(name, { ...batch, texts }, ['texts'], async rows => {
      const score = await (loading ??= load(name, modelDir, measure))
      return score(
        rows.map(({ image, values: [text] }) => {
          const told = isEdit(text) ? text.prompt : text
          if (typeof told === 'string') return { image, text: told }
          throw new Error(`${name}: a prompt is ${Array.isArray(text) ? 'a list' : typeof text}, needed a text.`)
        }),
      )
    })
  }
}

/** Whether a prompt is what an image policy takes, a picture and what to do with it. */
const isEdit = (prompt: unknown): prompt is { prompt: unknown } =>
  typeof prompt === 'object' && prompt !== null && 'prompt' in prompt

async function load(name: string, modelName: string, measure: () => Promise<(outputs: ClipOutputs) => tf.Tensor>) {
  await start()
  const modelDir = await modelDirectory(modelName)
  const [processor, tokenizer] = [await loadImageProcessor(modelDir), await loadTokenizer(modelDir)]
  const { model, weights } = await loadForwardModel(modelDir)
  if (model.architecture !== 'CLIPModel')
    throw new Error(`${name}: ${modelDir} holds a ${model.architecture}, needed a CLIPModel.`)
  const path = join(modelDir, 'config.json')
  const { max_position_embeddings } = clipModelConfig(new Fields(await readJson(path), path)).text
  const measured = await measure()
  const program = jit(
    (weights: TensorTree, inputs: Record<string, tf.Tensor>) => {
      const { image_embeds, text_embeds } = model.forward(weights, inputs)
      const { logit_scale } = weights as { logit_scale: tf.Tensor }
      return measured({ image_embeds: image_embeds!, text_embeds: text_embeds!, logit_scale })
    },
    { name },
  )

  return async (rows: readonly { image: RgbImage; text: string }[]): Promise<number[]> => {
    const size = 3 * processor.height * processor.width
    const pixels = new Float32Array(rows.length * size)
    rows.forEach(({ image }, row) => pixels.set(processor(image), row * size))
    const ids = rows.map(({ text }) => paddedIds(tokenizer, text, max_position_embeddings))
    const inputs = {
      pixel_values: tf.tensor4d(pixels, [rows.length, 3, processor.height, processor.width]),
      input_ids: tf.tensor2d(ids, undefined, 'int32'),
    }
    const scores = await program.async(weights, inputs)
    const numbers = Array.from(await scores.data())
    disposeTree([inputs, scores])
    return numbers
  }
}
