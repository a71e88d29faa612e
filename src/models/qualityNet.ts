import * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import type { Fields } from '../io/json.js'
import { conv2d, linear, silu, type Conv2d, type Linear } from '../nn/index.js'
import type { TensorTree } from '../xla/index.js'
import type { ForwardModel } from './forwardModel.js'
import { initWeights } from './initWeights.js'

/** Fields of config.json. */
export interface QualityNetConfig {
  /** Filters of the three convolutions. */
  channels: [number, number, number]
  hidden_size: number
  /** Size of the space in which distance from pictures without faults is measured. */
  embedding_size: number
}

interface QualityNetWeights {
  conv1: Conv2d // [channels[0], 3, 3, 3]
  conv2: Conv2d
  conv3: Conv2d
  /** Of the features over the training pictures. */
  norm: FeatureNorm // [F]
  hidden: Linear // [hidden, F]
  embedding: Linear // [embedding, hidden]
  typical: Typical
}

/** Where the normed features of pictures without faults lie, and what distance from there tells. */
export type Typical = {
  mean: tf.Tensor // [F]
  /** Makes features of such pictures uncorrelated, of deviation 1. */
  whitening: tf.Tensor // [F, F]
  /** The strength of a fault as a line over the logarithm of the distance. */
  slope: tf.Tensor // [1]
  offset: tf.Tensor // [1]
}

/** Mean and deviation of features. */
export type FeatureNorm = { mean: tf.Tensor; deviation: tf.Tensor }

/** Reads and checks the config.json of a quality model.
 * @throws Error naming file and field for values that are missing or unsound */
export function qualityNetConfig(fields: Fields): QualityNetConfig {
  const channels = fields.get('channels')
  if (!Array.isArray(channels) || channels.length !== 3 || !channels.every(c => Number.isInteger(c) && c > 0))
    fields.fail('channels', 'three integers ≥ 1')
  return {
    channels: channels as [number, number, number],
    hidden_size: fields.count('hidden_size'),
    embedding_size: fields.count('embedding_size'),
  }
}

/** A quality model without reference: `pixel_values` [B, 3, H, W] in 0 … 1, each side at least 32 → `quality` [B] in 0 … 1.
 *
 * Each colour channel is looked at by itself with the same weights: its values, their compressed Laplacian and how flat
 * each place is go through three convolutions. Features are the mean and the logarithm of the deviation of every map over all places,
 * the shares of places by tone, and by how much each of these differs from its mean over the channels: exposure moves the tones of all
 * channels, a colour cast moves them apart. Quality is 1 less the strength of the fault: 0.8 of it a distance in an embedding of these,
 * trained on faults of known strength, and 0.2 the Mahalanobis distance from pictures without faults, since a fault of a kind that was
 * not trained on moves a picture away from those as well. */
export function qualityNet(config: QualityNetConfig): ForwardModel {
  return {
    architecture: 'QualityNet',
    parameters: qualityNetParameters(config),
    inputs: { pixel_values: { type: 'float32', shape: ['images', 3, 'height', 'width'] } },
    forward(weights, { pixel_values }) {
      const { norm, typical } = weights as unknown as QualityNetWeights
      const features = qualityFeatures(weights, tf.transpose(pixel_values!, [0, 2, 3, 1]))
      const trained = qualityLoss(weights, features, norm)
      const untypical = strengthOf(typical, atypicality(typical, normed(features, norm)))
      const strength = tf.add(tf.mul(trained, 1 - UNTYPICAL), tf.mul(untypical, UNTYPICAL))
      return { quality: tf.clipByValue(tf.sub(1, strength), 0, 1) }
    },
  }
}

/** @param pictures [B, H, W, 3] in 0 … 1
 * @returns [B, 3, F], those of each colour channel */
export function qualityFeatures(weights: TensorTree, pictures: tf.Tensor): tf.Tensor {
  const w = weights as unknown as QualityNetWeights
  const [b, height, width] = pictures.shape as [number, number, number, number]
  const planes = tf.reshape(tf.transpose(pictures, [0, 3, 1, 2]), [3 * b, height, width, 1]) // a channel each
  const [laplacian, right, down] = tf.unstack(conv2d(planes, { weight: tf.tensor4d(DERIVATIVES, [3, 1, 3, 3]) }), -1)
  // 1 where neighbours are equal, 0 where they differ by some levels: steps and blocks leave more such places, noise none.
  const flat = tf.exp(tf.mul(tf.add(tf.square(right!), tf.square(down!)), -FLATNESS))
  const values = tf.slice(planes, [0, 1, 1, 0], [3 * b, height - 2, width - 2, 1])
  // Scales that make both maps about 1; asinh keeps the faintest steps visible beside edges.
  const x0 = tf.stack([tf.squeeze(tf.mul(tf.sub(values, 0.5), 3), [3]), tf.asinh(tf.mul(laplacian!, 20)), flat], -1) // [3B, H−2, W−2, 3]
  const x1 = tf.relu(conv2d(x0, w.conv1)) // [3B, H−4, W−4, channels[0]]
  const x2 = tf.relu(conv2d(x1, w.conv2, { stride: 2 }))
  const x3 = tf.relu(conv2d(x2, w.conv3, { stride: 2 }))
  const own = tf.reshape(tf.concat([tones(values), ...[x0, x1, x2, x3].map(statistics)], -1), [b, 3, -1])
  return tf.concat([own, tf.sub(own, tf.mean(own, 1, true))], -1)
}

/** Distance of pictures, in the trained embedding, from those without faults.
 * @param features [B, 3, F]
 * @param noise added to the normed features in training, so that none of them decides alone
 * @returns [B], trained to be the strength of the fault */
export function qualityLoss(weights: TensorTree, features: tf.Tensor, norm: FeatureNorm, noise?: tf.Tensor): tf.Tensor {
  const w = weights as unknown as QualityNetWeights
  const exact = normed(features, norm)
  const embedded = linear(silu(linear(noise ? tf.add(exact, noise) : exact, w.hidden)), w.embedding) // [B, 3, embedding]
  return tf.sqrt(tf.add(tf.mean(tf.square(embedded), [1, 2]), 1e-6))
}

/** Features of mean 0 and deviation 1 over the training pictures. */
export const normed = (features: tf.Tensor, { mean, deviation }: FeatureNorm): tf.Tensor =>
  tf.div(tf.sub(features, mean), deviation)

/** Logarithm of the Mahalanobis distance from pictures without faults.
 * @param features [B, 3, F], normed
 * @returns [B] */
export function atypicality({ mean, whitening }: Pick<Typical, 'mean' | 'whitening'>, features: tf.Tensor): tf.Tensor {
  const white = linear(tf.sub(features, mean), { weight: whitening })
  return tf.mul(tf.log(tf.add(tf.mean(tf.square(white), [1, 2]), 1e-6)), 0.5)
}

/** The strength of a fault that makes a picture so untypical, 0 … 1. */
const strengthOf = ({ slope, offset }: Typical, distance: tf.Tensor): tf.Tensor =>
  tf.clipByValue(tf.add(tf.mul(distance, slope), offset), 0, 1)

const UNTYPICAL = 0.2 // share of the quality

/** Filters 3 × 3: the Laplacian, and the central differences along rows and columns. */
const DERIVATIVES = [0, -1, 0, -1, 4, -1, 0, -1, 0, 0, 0, 0, -0.5, 0, 0.5, 0, 0, 0, 0, -0.5, 0, 0, 0, 0, 0, 0.5, 0] // prettier-ignore
const FLATNESS = (255 / 1.5) ** 2
const TONES = 5 // few: a finer histogram shows which strengths of banding were trained on

/** Mean and log deviation over places, [N, H, W, C] → [N, 2C]. */
function statistics(x: tf.Tensor): tf.Tensor {
  const { mean, variance } = tf.moments(x, [1, 2])
  return tf.concat([mean, tf.mul(tf.log(tf.add(variance, 1e-4)), 0.5)], -1)
}

/** Shares of places by their value, [N, H, W, 1] → [N, TONES]: each counts in the two nearest of as many evenly spaced values. */
function tones(values: tf.Tensor): tf.Tensor {
  const from = tf.abs(tf.sub(tf.mul(values, TONES - 1), tf.range(0, TONES)))
  return tf.mean(tf.relu(tf.sub(1, from)), [1, 2])
}

/** Random weights; the norm leaves features as they are, and nothing is untypical. */
export const initQualityNet = (config: QualityNetConfig, key: tf.Tensor): TensorTree =>
  initWeights(qualityNetParameters(config), key, ({ path }) =>
    path === 'norm.mean' || path.startsWith('typical.') ? { constant: 0 } : undefined,
  )

function qualityNetParameters({ channels, hidden_size, embedding_size }: QualityNetConfig): Parameter[] {
  const [c1, c2, c3] = channels
  const features = 2 * (TONES + 2 * (3 + c1 + c2 + c3))
  return Object.entries({
    'conv1.weight': [c1, 3, 3, 3],
    'conv1.bias': [c1],
    'conv2.weight': [c2, c1, 3, 3],
    'conv2.bias': [c2],
    'conv3.weight': [c3, c2, 3, 3],
    'conv3.bias': [c3],
    'norm.mean': [features],
    'norm.deviation': [features],
    'hidden.weight': [hidden_size, features],
    'hidden.bias': [hidden_size],
    'embedding.weight': [embedding_size, hidden_size],
    'embedding.bias': [embedding_size],
    'typical.mean': [features],
    'typical.whitening': [features, features],
    'typical.slope': [1],
    'typical.offset': [1],
  }).map(([name, shape]) => ({ name, path: name, shape }))
}
