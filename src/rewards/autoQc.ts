import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { imagesToTensor, type RgbImage } from '../io/images.js'
import { pictureMeasures } from '../metrics/pictureMeasures.js'
import { loadForwardModel } from '../models/index.js'
import { disposeTree, jit, packageRoot, start, type TensorTree } from '../xla/index.js'
import type { Reward } from './reward.js'
import { scorePictures } from './scorePictures.js'

/** What AutoQC is made of, each in 0 … 1: the learned model's quality, and the measures of {@link pictureMeasures}. */
export type QualityPart = 'learned' | keyof typeof pictureMeasures

/** AutoQC of one picture, and its parts before they are weighted. */
export type QualityRow = Readonly<Record<'autoQC' | QualityPart, number>>

export interface AutoQc extends Reward {
  /** Every part of pictures of any sizes, as rows of a table. */
  parts(images: readonly RgbImage[]): Promise<QualityRow[]>
  readonly weights: Readonly<Record<QualityPart, number>>
}

/** The learned model carries most; sharpness and noise, which it judges too, keep it from being fooled in them. */
const WEIGHTS: Record<QualityPart, number> = {
  ...{ learned: 0.6, sharpness: 0.1, noise: 0.1, exposure: 0.1, blocking: 0.05, colourfulness: 0.05 },
}

/** Technical quality of a picture without reference, in 0 … 1: the weighted mean of a learned model and of measures, at one program a
 * size of picture. Both sides need at least 32 pixels.
 *
 * The shipped model ranks graded faults (blur, noise, blocking, banding, ringing, exposure, colour) of small pictures; it knows
 * nothing of what a picture shows. Default weights: learned 0.6, sharpness, noise and exposure 0.1, blocking and colourfulness 0.05.
 * @param modelDir a QualityNet's directory. Default data/models/autoqc
 * @param options.weights changes some of the weights; they count in proportion
 * @throws Error naming a weight that is unknown or negative, or the row of a completion that is no picture or is too small */
export function autoQC(
  modelDir: string = join(packageRoot(), 'data/models/autoqc'),
  { weights: changes = {} }: { weights?: Partial<Record<QualityPart, number>> } = {},
): AutoQc {
  const weights = { ...WEIGHTS, ...changes }
  for (const [name, weight] of Object.entries(weights)) {
    if (!(name in WEIGHTS))
      throw new Error(`autoQC: no part is named "${name}". Use ${Object.keys(WEIGHTS).join(', ')}.`)
    if (!(weight >= 0)) throw new Error(`autoQC: the weight of ${name} is ${weight}, needed a number ≥ 0.`)
  }
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0)
  if (total === 0) throw new Error('autoQC: all weights are 0, needed one above.')

  let loading: ReturnType<typeof load> | undefined
  const judge = async (images: readonly RgbImage[]): Promise<QualityRow[]> => {
    const { weights: model, program } = await (loading ??= load(modelDir))
    const { width, height } = images[0]!
    if (Math.min(width, height) < SMALLEST)
      throw new Error(`autoQC: ${width} × ${height} pixels, needed at least ${SMALLEST} × ${SMALLEST}. Resize the pictures.`) // prettier-ignore
    const pictures = imagesToTensor(images)
    const measured = await program.async(model, pictures) // [parts, B]
    const values = (await measured.array()) as number[][]
    disposeTree([pictures, measured])
    return images.map((_, row) => {
      const parts = Object.fromEntries(PARTS.map((name, i) => [name, values[i]![row]!])) as Record<QualityPart, number>
      return { autoQC: PARTS.reduce((sum, name) => sum + (weights[name] / total) * parts[name], 0), ...parts }
    })
  }

  const rows = async (images: readonly RgbImage[]): Promise<QualityRow[]> => {
    const found = new Map<RgbImage, QualityRow>()
    await scorePictures('autoQC', { prompts: images, completions: images }, [], async pictures => {
      const judged = await judge(pictures.map(({ image }) => image))
      pictures.forEach(({ image }, i) => found.set(image, judged[i]!))
      return judged.map(row => row.autoQC)
    })
    return images.map(image => found.get(image)!)
  }
  const reward: Reward = batch =>
    scorePictures('autoQC', batch, [], async pictures =>
      (await judge(pictures.map(({ image }) => image))).map(row => row.autoQC),
    )
  return Object.assign(reward, { parts: rows, weights })
}

const PARTS = ['learned', ...Object.keys(pictureMeasures)] as QualityPart[]
const SMALLEST = 32 // pixels; the model's last maps have 6 × 6 places then

async function load(modelDir: string) {
  await start()
  const { model, weights } = await loadForwardModel(modelDir)
  if (model.architecture !== 'QualityNet')
    throw new Error(`autoQC: ${modelDir} holds a ${model.architecture}, needed a QualityNet.`)
  const program = jit(
    (weights: TensorTree, pictures: tf.Tensor) => {
      const { quality } = model.forward(weights, { pixel_values: tf.transpose(pictures, [0, 3, 1, 2]) })
      return tf.stack([quality!, ...Object.values(pictureMeasures).map(measure => measure(pictures))])
    },
    { name: 'autoQC' },
  )
  return { weights, program }
}
