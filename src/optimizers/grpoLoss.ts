import * as tf from '@tensorflow/tfjs-core'
import { requireOneOf } from '../config.js'
import { stopGradient } from './stopGradient.js'

/** What the loss of GRPO and SRPO depends on; names and defaults are those of TRL 1.16. */
export interface GrpoLossConfig {
  loss_type: GrpoLossType
  /** Weight of the KL term (k3) to the reference; 0 does not evaluate the reference. */
  beta: number
  /** Multiply the KL term by the importance ratio, which makes its gradient unbiased off policy (arXiv 2512.02556). */
  use_bias_correction_kl: boolean
  /** Clip range of the ratio: [1 − epsilon, 1 + epsilon_high]. */
  epsilon: number
  /** null: epsilon. For cispo the bound on the ratio itself, about 5. */
  epsilon_high: number | null
  /** Upper bound on the unclipped ratio (two-sided clipping, arXiv 2505.07291); null: none. */
  delta: number | null
  sapo_temperature_neg: number
  sapo_temperature_pos: number
  /** `sequence` (GSPO, arXiv 2507.18071): one ratio per completion, of the mean log-probability. */
  importance_sampling_level: 'token' | 'sequence'
  /** The constant length of loss_type dr_grpo. */
  max_completion_length: number
  /** Weight of an entropy bonus. */
  entropy_coef: number
}

export type GrpoLossType = 'grpo' | 'bnpo' | 'dr_grpo' | 'dapo' | 'luspo' | 'cispo' | 'sapo' | 'reinforce'

export const grpoLossDefaults: GrpoLossConfig = {
  loss_type: 'dapo',
  beta: 0,
  use_bias_correction_kl: true,
  epsilon: 0.2,
  epsilon_high: null,
  delta: null,
  sapo_temperature_neg: 1.05,
  sapo_temperature_pos: 1,
  importance_sampling_level: 'token',
  max_completion_length: 512,
  entropy_coef: 0,
}

type Numbers = tf.Tensor | tf.TensorLike

export interface GrpoBatch {
  /** Log-probabilities under the weights in training [B, T]. */
  logProbs: Numbers
  /** Those the completions were drawn with [B, T]; left out: `logProbs` without gradient (exactly on policy). */
  oldLogProbs?: Numbers
  /** Those of the reference [B, T]; needed where beta is not 0. */
  refLogProbs?: Numbers
  /** In place of logProbs − oldLogProbs, for the ratio [B, T]: {@link flowRatio}. */
  logRatio?: Numbers
  /** In place of k3, where the divergence of each step is known [B, T]: {@link flowKl}. */
  kl?: Numbers
  /** 1 where a token counts [B, T]. */
  mask: Numbers
  /** [B], or [B, T] for one a token. */
  advantages: Numbers
  /** [B, T]; needed where entropy_coef is not 0. */
  entropy?: Numbers
  /** Active tokens of one accumulation window (dapo, cispo); left out: those of this batch. Scalar. */
  numItems?: Numbers
}

/** Policy-gradient loss of a batch of completions: a loss per token, then its mean in the loss type's sense.
 *
 *   ρ = exp(logp − old);   clipped: −min(ρA, clip(ρ, 1−ε, 1+ε_high)A)
 *
 * | loss_type | per token | mean over |
 * |---|---|---|
 * | grpo | clipped | tokens of a completion, then completions |
 * | bnpo | clipped | tokens of the batch |
 * | dr_grpo | clipped | B · max_completion_length |
 * | dapo | clipped | tokens of the whole accumulated batch |
 * | luspo | clipped | completions (sum over tokens) |
 * | cispo | −stopgrad(min(ρ, ε_high))·A·logp | as dapo |
 * | sapo | −(4/τ)σ(τ(ρ−1))·A | as grpo |
 * | reinforce | −A·logp | completions (sum over tokens) |
 *
 * plus beta · (exp(ref−logp) − (ref−logp) − 1) per token, or beta · kl where that is given, minus entropy_coef · mean entropy.
 * @returns loss and metrics, scalars: `kl`, `entropy` and, for clipped losses, `clip_ratio/{low,high,region}_mean`
 * @source TRL 1.16, GRPOTrainer._compute_loss; reinforce: Williams 1992 */
export function grpoLoss(
  batch: GrpoBatch,
  options: Partial<GrpoLossConfig> = {},
): { loss: tf.Tensor; metrics: Record<string, tf.Tensor> } {
  const config = { ...grpoLossDefaults, ...options }
  requireOneOf('grpoLoss', 'loss_type', config.loss_type, Object.keys(lossTypes))
  const { beta, entropy_coef } = config
  const logProbs = tf.cast(batch.logProbs, 'float32') // [B, T]
  const mask = tf.cast(batch.mask, 'float32') // [B, T]
  const given = tf.cast(batch.advantages, 'float32')
  const advantage = given.rank === 1 ? tf.expandDims(given, 1) : given // [B, 1] or [B, T]
  const numItems = batch.numItems === undefined ? tf.sum(mask) : tf.cast(batch.numItems, 'float32')

  const logRatio = tf.cast(batch.logRatio ?? tf.sub(logProbs, batch.oldLogProbs ?? stopGradient(logProbs)), 'float32') // [B, T]
  const ratio = tf.exp(config.importance_sampling_level === 'token' ? logRatio : sequenceMean(logRatio, mask))
  const { surrogate, average } = lossTypes[config.loss_type]
  const metrics: Record<string, tf.Tensor> = {}
  let perToken = surrogate({ logProbs, ratio, advantage, config, metrics, mask })
  if (beta !== 0) {
    const kl = batch.kl === undefined ? estimated(batch, logProbs, ratio, config) : tf.cast(batch.kl, 'float32')
    perToken = tf.add(perToken, tf.mul(kl, beta))
    metrics['kl'] = maskedMean(kl, mask)
  }
  let loss = average({ perToken, mask, numItems, config })
  const entropy = batch.entropy === undefined ? undefined : maskedMean(tf.cast(batch.entropy, 'float32'), mask)
  if (entropy !== undefined) metrics['entropy'] = entropy
  if (entropy_coef !== 0) loss = tf.sub(loss, tf.mul(required(entropy, 'entropy', 'entropy_coef'), entropy_coef))
  return { loss, metrics }
}

/** k3 of the reference, from log-probabilities of what was drawn [B, T]. */
function estimated(batch: GrpoBatch, logProbs: tf.Tensor, ratio: tf.Tensor, config: GrpoLossConfig): tf.Tensor {
  const difference = tf.sub(required(batch.refLogProbs, 'refLogProbs', 'beta'), logProbs)
  const k3 = tf.sub(tf.expm1(difference), difference)
  return config.use_bias_correction_kl ? tf.mul(k3, ratio) : k3
}

interface SurrogateTerms {
  logProbs: tf.Tensor
  /** [B, T], or [B, 1] at sequence level. */
  ratio: tf.Tensor
  advantage: tf.Tensor
  mask: tf.Tensor
  config: GrpoLossConfig
  /** Receives what a loss logs of its own. */
  metrics: Record<string, tf.Tensor>
}

interface AverageTerms {
  /** [B, T], or [B, 1] at sequence level. */
  perToken: tf.Tensor
  mask: tf.Tensor
  numItems: tf.Tensor
  config: GrpoLossConfig
}

const clipped = ({ ratio, advantage, mask, config, metrics }: SurrogateTerms): tf.Tensor => {
  const [low, high] = [1 - config.epsilon, 1 + (config.epsilon_high ?? config.epsilon)]
  const lowClipped = tf.logicalAnd(tf.less(ratio, low), tf.less(advantage, 0))
  const highClipped = tf.logicalAnd(tf.greater(ratio, high), tf.greater(advantage, 0))
  const share = (which: tf.Tensor) => maskedMean(tf.cast(which, 'float32'), mask)
  metrics['clip_ratio/low_mean'] = share(lowClipped)
  metrics['clip_ratio/high_mean'] = share(highClipped)
  metrics['clip_ratio/region_mean'] = share(tf.logicalOr(lowClipped, highClipped))
  const bounded = config.delta === null ? ratio : tf.minimum(ratio, config.delta)
  return tf.neg(tf.minimum(tf.mul(bounded, advantage), tf.mul(tf.clipByValue(ratio, low, high), advantage)))
}

const truncated = ({ logProbs, ratio, advantage, mask, config, metrics }: SurrogateTerms): tf.Tensor => {
  const bound = config.epsilon_high ?? config.epsilon
  const over = tf.logicalAnd(tf.greater(ratio, bound), tf.greater(advantage, 0))
  metrics['cispo_clip_ratio'] = maskedMean(tf.cast(over, 'float32'), mask)
  return tf.neg(tf.mul(tf.mul(stopGradient(tf.minimum(ratio, bound)), advantage), logProbs))
}

const soft = ({ ratio, advantage, config }: SurrogateTerms): tf.Tensor => {
  const { sapo_temperature_pos, sapo_temperature_neg } = config
  const tau = tf.where(tf.greater(advantage, 0), tf.scalar(sapo_temperature_pos), tf.scalar(sapo_temperature_neg))
  const gate = tf.div(tf.mul(tf.sigmoid(tf.mul(tau, tf.sub(ratio, 1))), 4), tau)
  return tf.neg(tf.mul(gate, advantage))
}

const likelihood = ({ logProbs, advantage }: SurrogateTerms): tf.Tensor => tf.neg(tf.mul(logProbs, advantage))

const overCompletions = ({ perToken, mask }: AverageTerms): tf.Tensor => tf.mean(sequenceMean(perToken, mask))
const overTokens = ({ perToken, mask }: AverageTerms): tf.Tensor =>
  tf.div(tf.sum(tf.mul(perToken, mask)), tf.maximum(tf.sum(mask), 1))
const overAccumulatedTokens = ({ perToken, mask, numItems }: AverageTerms): tf.Tensor =>
  tf.div(tf.sum(tf.mul(perToken, mask)), tf.maximum(numItems, 1))
const overBound = ({ perToken, mask, config }: AverageTerms): tf.Tensor =>
  tf.div(tf.sum(tf.mul(perToken, mask)), mask.shape[0] * config.max_completion_length)
const sumsOverCompletions = ({ perToken, mask }: AverageTerms): tf.Tensor => tf.mean(tf.sum(tf.mul(perToken, mask), 1))

export const lossTypes: Record<
  GrpoLossType,
  { surrogate: (terms: SurrogateTerms) => tf.Tensor; average: (terms: AverageTerms) => tf.Tensor }
> = {
  grpo: { surrogate: clipped, average: overCompletions },
  bnpo: { surrogate: clipped, average: overTokens },
  dr_grpo: { surrogate: clipped, average: overBound },
  dapo: { surrogate: clipped, average: overAccumulatedTokens },
  luspo: { surrogate: clipped, average: sumsOverCompletions },
  cispo: { surrogate: truncated, average: overAccumulatedTokens },
  sapo: { surrogate: soft, average: overCompletions },
  reinforce: { surrogate: likelihood, average: sumsOverCompletions },
}

/** Mean of each row over its active tokens [B, 1]. */
function sequenceMean(x: tf.Tensor, mask: tf.Tensor): tf.Tensor {
  return tf.div(tf.sum(tf.mul(x, mask), 1, true), tf.maximum(tf.sum(mask, 1, true), 1))
}

/** Mean over active tokens; over rows where there is one value per row. */
function maskedMean(x: tf.Tensor, mask: tf.Tensor): tf.Tensor {
  return x.shape[1] === 1 ? tf.mean(x) : tf.div(tf.sum(tf.mul(x, mask)), tf.maximum(tf.sum(mask), 1))
}

function required<T>(value: T | undefined, name: string, because: string): T {
  if (value === undefined) throw new Error(`grpoLoss: ${name} is missing, needed because ${because} is not 0.`)
  return value
}
