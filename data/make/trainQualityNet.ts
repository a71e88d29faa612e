import * as tf from '@tensorflow/tfjs-core'
import {
  addFault,
  imagesToTensor,
  QUALITY_FAULTS,
  rng,
  type QualityFault,
  type RgbImage,
  type Rng,
} from '../../src/datasets/index.js'
import { rankCorrelation } from '../../src/metrics/index.js'
import {
  atypicality,
  initQualityNet,
  normed,
  qualityFeatures,
  qualityLoss,
  type FeatureNorm,
  type Typical,
  type QualityNetConfig,
} from '../../src/models/qualityNet.js'
import type { ForwardModel } from '../../src/models/forwardModel.js'
import { adamw, adamwState, type AdamwState } from '../../src/optimizers/adamw.js'
import { learningRate } from '../../src/optimizers/learningRate.js'
import { valueAndGrad } from '../../src/optimizers/valueAndGrad.js'
import { scorePictures } from '../../src/rewards/scorePictures.js'
import { disposeTree, jit, random, type TensorTree } from '../../src/xla/index.js'
import { qualityScenes } from './qualityScenes.js'

export const config: QualityNetConfig = { channels: [16, 24, 32], hidden_size: 48, embedding_size: 16 }

/** Strengths of faults that are trained on, and those between them that the model is tested on. */
export const STRENGTHS = { train: [0.2, 0.4, 0.6, 0.8, 1], test: [0.1, 0.3, 0.5, 0.7, 0.9] }
const CROP = 32 // pixels a side of what is trained on, cut out of larger pictures
const BATCH = 64
const FEATURE_NOISE = 0.5 // in deviations of the feature, at first; none in the end
const CLEAN_SHARE = 1 / 6
const ADAM = { adam_beta1: 0.9, adam_beta2: 0.98, adam_epsilon: 1e-8, weight_decay: 1e-3, max_grad_norm: 1 }
const RIDGE = 3e-3 // of the covariance of features, whose variance is about 1
const RATE = 3e-3
const WARMUP = 20

/** A picture and what was done to it; without a fault, its strength is 0. */
export interface GradedPicture {
  image: RgbImage
  fault: QualityFault | null
  strength: number
}

/** Pictures of several sizes, each without a fault and with each kind of fault.
 * @param split which scenes and strengths; for training one strength of each kind, for the test all */
export async function gradedPictures(
  split: 'train' | 'test',
  { sizes, count, seed, edits }: { sizes: readonly number[]; count: number; seed: number; edits?: number },
): Promise<GradedPicture[]> {
  const graded: GradedPicture[] = []
  for (const size of sizes) {
    const scenes = await qualityScenes(split, {
      size,
      count: Math.ceil(count / sizes.length),
      seed: seed + size,
      edits,
    })
    scenes.forEach((image, i) => {
      const order = rng(seed, size, i)
      graded.push({ image, fault: null, strength: 0 })
      for (const fault of QUALITY_FAULTS)
        for (const strength of split === 'train' ? [order.pick(STRENGTHS.train)] : STRENGTHS.test)
          graded.push({ image: addFault(image, fault, strength, order), fault, strength })
    })
  }
  return graded
}

/** Trains a quality model to tell the strength of faults.
 * @param report is given the mean loss of every so many steps */
export async function trainQualityNet(
  graded: readonly GradedPicture[],
  { steps, seed, report }: { steps: number; seed: number; report?: (step: number, loss: number) => void },
): Promise<TensorTree> {
  let weights = initQualityNet(config, random.key(seed))
  let state = adamwState(weights)
  const [clean, faulty] = [graded.filter(g => g.fault === null), graded.filter(g => g.fault !== null)]
  const order = rng(seed, 3)
  for (let step = 0; step < steps; step++) {
    const batch = Array.from({ length: BATCH }, (_, i) => order.pick(i < BATCH * CLEAN_SHARE ? clean : faulty))
    const rate = learningRate(step, steps, { learning_rate: RATE, lr_scheduler_type: 'cosine', warmup_steps: WARMUP })
    const inputs = {
      pictures: crops(batch, order),
      strengths: tf.tensor1d(batch.map(g => g.strength)),
      rate: tf.scalar(rate),
      noisiness: tf.scalar(FEATURE_NOISE * (1 - step / steps)),
      key: random.foldIn(random.key(seed), step),
    }
    const next = await update.async(weights, state, inputs)
    ;[weights, state] = [next.weights, next.state]
    if (report && (step % 50 === 49 || step === steps - 1)) report(step + 1, (await next.loss.data())[0]!)
    disposeTree([inputs, next.loss])
  }
  const drawn = (from: readonly GradedPicture[]) => Array.from({ length: 32 * BATCH }, () => order.pick(from))
  await fixNorm(weights, drawn(graded), order)
  await fixTypical(weights, drawn(clean), drawn(faulty), order)
  return weights
}

const update = jit(
  (
    weights: TensorTree,
    state: AdamwState<TensorTree>,
    {
      pictures,
      strengths,
      rate,
      noisiness,
      key,
    }: Record<'pictures' | 'strengths' | 'rate' | 'noisiness' | 'key', tf.Tensor>,
  ) => {
    const { value, grads } = valueAndGrad(w => {
      const features = qualityFeatures(w, pictures)
      const noise = tf.mul(random.normal(key, features.shape), noisiness)
      const told = qualityLoss(w, features, normOf(tf.moments(features, [0, 1])), noise)
      return { value: tf.mean(tf.squaredDifference(told, strengths)), aux: {} }
    }, weights)
    const next = adamw(weights, grads, state, { ...ADAM, learning_rate: rate })
    return { weights: next.weights, state: next.state, loss: value }
  },
  { donate: [0, 1], name: 'trainQualityNet' },
)

/** Sets the norm, which in training is each batch's, to that of many pictures. */
async function fixNorm(weights: TensorTree, pictures: readonly GradedPicture[], order: Rng): Promise<void> {
  const own = weights as { norm: TensorTree }
  const all = await featuresOf(weights, pictures, order)
  disposeTree(own.norm)
  own.norm = tf.tidy(() => normOf(tf.moments(all, [0, 1])))
  all.dispose()
}

/** Sets where the features of pictures without faults lie, and what strength of a fault a distance from there tells. */
async function fixTypical(
  weights: TensorTree,
  clean: readonly GradedPicture[],
  faulty: readonly GradedPicture[],
  order: Rng,
): Promise<void> {
  const own = weights as { norm: FeatureNorm; typical: Typical }
  const [known, damaged] = [await featuresOf(weights, clean, order), await featuresOf(weights, faulty, order)]
  const [there, elsewhere] = [normed(known, own.norm), normed(damaged, own.norm)] // [pictures, 3, F]
  const { mean, covariance } = tf.tidy(() => {
    const rows = tf.reshape(there, [-1, there.shape[2]!])
    const mean = tf.mean(rows, 0)
    const centred = tf.sub(rows, mean)
    return { mean, covariance: tf.div(tf.matMul(centred, centred, true), rows.shape[0]) }
  })
  const F = mean.size
  const whitening = tf.tensor2d(whiteningOf(await covariance.data(), F), [F, F])
  const distances = await tf.tidy(() => atypicality({ mean, whitening }, tf.concat([there, elsewhere]))).data()
  const { slope, offset } = lineThrough([...distances], [...clean, ...faulty].map(g => g.strength)) // prettier-ignore
  disposeTree([known, damaged, there, elsewhere, covariance, own.typical])
  own.typical = { mean, whitening, slope: tf.tensor1d([slope]), offset: tf.tensor1d([offset]) }
}

/** The inverse of the Cholesky factor of a covariance [F, F], to whose diagonal a little is added. */
function whiteningOf(covariance: ArrayLike<number>, F: number): Float32Array {
  const factor = Array.from({ length: F }, () => new Float64Array(F))
  const inverse = Array.from({ length: F }, () => new Float64Array(F))
  for (let i = 0; i < F; i++) {
    for (let j = 0; j <= i; j++) {
      let left = covariance[i * F + j]! + (i === j ? RIDGE : 0)
      for (let k = 0; k < j; k++) left -= factor[i]![k]! * factor[j]![k]!
      factor[i]![j] = i === j ? Math.sqrt(left) : left / factor[j]![j]!
    }
    for (let j = 0; j <= i; j++) {
      let left = i === j ? 1 : 0
      for (let k = j; k < i; k++) left -= factor[i]![k]! * inverse[k]![j]!
      inverse[i]![j] = left / factor[i]![i]!
    }
  }
  return Float32Array.from(inverse.flatMap(row => [...row]))
}

/** Least squares. */
function lineThrough(x: readonly number[], y: readonly number[]): { slope: number; offset: number } {
  const mean = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0) / values.length
  const [mx, my] = [mean(x), mean(y)]
  const slope = mean(x.map((v, i) => (v - mx) * (y[i]! - my))) / mean(x.map(v => (v - mx) ** 2))
  return { slope, offset: my - slope * mx }
}

/** Features of a piece of each picture [pictures, 3, F]. */
async function featuresOf(weights: TensorTree, graded: readonly GradedPicture[], order: Rng): Promise<tf.Tensor> {
  const parts: tf.Tensor[] = []
  for (let i = 0; i < graded.length; i += BATCH) {
    const pictures = crops(graded.slice(i, i + BATCH), order)
    parts.push(await features.async(weights, pictures))
    pictures.dispose()
  }
  const all = tf.concat(parts)
  disposeTree(parts)
  return all
}

const features = jit(qualityFeatures, { name: 'qualityFeatures' })

const normOf = ({ mean, variance }: { mean: tf.Tensor; variance: tf.Tensor }): FeatureNorm => ({
  mean,
  deviation: tf.sqrt(tf.add(variance, 1e-5)),
})

/** A square out of each picture, mirrored along either axis by chance. [B, CROP, CROP, 3] */
function crops(batch: readonly GradedPicture[], order: Rng): tf.Tensor4D {
  const size = CROP * CROP * 3
  const values = new Float32Array(batch.length * size)
  batch.forEach(({ image: { width, height, data } }, row) => {
    const [left, top] = [order.int(width - CROP + 1), order.int(height - CROP + 1)]
    const [mirrored, flipped] = [order.int(2) === 1, order.int(2) === 1]
    for (let y = 0; y < CROP; y++)
      for (let x = 0; x < CROP; x++) {
        const from = ((top + (flipped ? CROP - 1 - y : y)) * width + left + (mirrored ? CROP - 1 - x : x)) * 3
        for (let c = 0; c < 3; c++) values[row * size + (y * CROP + x) * 3 + c] = data[from + c]! / 255
      }
  })
  return tf.tensor4d(values, [batch.length, CROP, CROP, 3])
}

/** A function that gives the quality of pictures of any sizes. */
export function qualityOf(
  model: ForwardModel,
  weights: TensorTree,
): (images: readonly RgbImage[]) => Promise<number[]> {
  const program = jit((weights: TensorTree, pictures: tf.Tensor) => {
    return model.forward(weights, { pixel_values: tf.transpose(pictures, [0, 3, 1, 2]) })['quality']!
  })
  return async images => {
    const scores = await scorePictures('quality', { prompts: images, completions: images }, [], async rows => {
      const pictures = imagesToTensor(rows.map(({ image }) => image))
      const quality = await program.async(weights, pictures)
      const numbers = Array.from(await quality.data())
      disposeTree([pictures, quality])
      return numbers
    })
    return scores as number[]
  }
}

/** Spearman correlation of what a model says with the quality, 1 − strength, for each kind of fault, pooled over pictures and strengths. */
export async function faultRanking(
  quality: (images: readonly RgbImage[]) => Promise<readonly number[]>,
  graded: readonly GradedPicture[],
  faults: readonly QualityFault[] = QUALITY_FAULTS,
): Promise<Partial<Record<QualityFault, number>>> {
  const ranking: Partial<Record<QualityFault, number>> = {}
  for (const fault of faults) {
    const own = graded.filter(g => g.fault === fault)
    ranking[fault] = rankCorrelation(await quality(own.map(g => g.image)), own.map(g => 1 - g.strength)) // prettier-ignore
  }
  return ranking
}
