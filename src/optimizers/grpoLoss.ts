import * as tf from '@tensorflow/tfjs-core'
import { requireInside, requireOneOf } from '../config.js'
import { constant, stopGradient } from './stopGradient.js'

/** What the loss of GRPO and SRPO depends on; names and defaults are those of TRL 1.16. */
export interface GrpoLossConfig {
  loss_type: GrpoLossType
  /** Weight of the KL term to the reference; 0 does not evaluate the reference. */
  beta: number
  /** How the KL of a token is estimated from x = log-probability − the reference's (ours; TRL: k3): k1 x, k2 x²/2, k3 e⁻ˣ + x − 1. */
  kl_estimator: 'k1' | 'k2' | 'k3'
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
  /** Exponent and decay of vespo's weight of a completion, for advantages of 0 and above and for those below. */
  vespo_k_pos: number
  vespo_lambda_pos: number
  vespo_k_neg: number
  vespo_lambda_neg: number
  /** `sequence` (GSPO, arXiv 2507.18071): one ratio per completion, of the mean log-probability. */
  importance_sampling_level: 'token' | 'sequence'
  /** The constant length of loss_type dr_grpo. */
  max_completion_length: number
  /** Weight of an entropy bonus. */
  entropy_coef: number
  /** Share of the tokens, those of highest entropy, that the policy's term counts (arXiv 2506.01939); 1: all. */
  top_entropy_quantile: number
  /** Drop completions of negative advantage whose tokens became less likely than when drawn by more than this mean of log-ratios
   * (DeepSeek-V3.2); null: none. */
  off_policy_mask_threshold: number | null
}

export type GrpoLossType = 'grpo' | 'bnpo' | 'dr_grpo' | 'dapo' | 'luspo' | 'cispo' | 'sapo' | 'vespo' | 'reinforce'

export const grpoLossDefaults: GrpoLossConfig = {
  loss_type: 'dapo',
  beta: 0,
  kl_estimator: 'k3',
  use_bias_correction_kl: true,
  epsilon: 0.2,
  epsilon_high: null,
  delta: null,
  sapo_temperature_neg: 1.05,
  sapo_temperature_pos: 1,
  vespo_k_pos: 2,
  vespo_lambda_pos: 3,
  vespo_k_neg: 3,
  vespo_lambda_neg: 2,
  importance_sampling_level: 'token',
  max_completion_length: 512,
  entropy_coef: 0,
  top_entropy_quantile: 1,
  off_policy_mask_threshold: null,
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
  /** [B, T]; needed where entropy_coef is not 0 or top_entropy_quantile not 1. */
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
 * | vespo | −stopgrad(w^k·e^{λ(1−w)})·A·logp, w = Π ρ of the completion | as dapo |
 * | reinforce | −A·logp | completions (sum over tokens) |
 *
 * plus beta · KL per token (estimated, or as given), minus entropy_coef · mean entropy.
 * @returns loss and metrics, scalars: `kl`, `entropy` and, for clipped losses, `clip_ratio/{low,high,region}_mean`
 * @source TRL 1.16, GRPOTrainer._compute_loss; reinforce: Williams 1992 */
export function grpoLoss(
  batch: GrpoBatch,
  options: Partial<GrpoLossConfig> = {},
): { loss: tf.Tensor; metrics: Record<string, tf.Tensor> } {
  const config = { ...grpoLossDefaults, ...options }
  checkGrpoLossConfig('grpoLoss', config)
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
  const entropy = batch.entropy === undefined ? undefined : tf.cast(batch.entropy, 'float32') // [B, T]
  let perToken = surrogate({ logProbs, logRatio, ratio, advantage, config, metrics, mask })
  const { off_policy_mask_threshold: threshold, top_entropy_quantile: quantile } = config
  if (threshold !== null) perToken = tf.mul(perToken, nearPolicy(logRatio, mask, advantage, threshold))
  const uncertain =
    quantile === 1 ? mask : mostUncertain(required(entropy, 'entropy', 'top_entropy_quantile'), mask, quantile)
  if (quantile !== 1) perToken = tf.mul(perToken, uncertain)
  if (beta !== 0) {
    const kl = batch.kl === undefined ? estimated(batch, logProbs, ratio, config) : tf.cast(batch.kl, 'float32')
    perToken = tf.add(perToken, tf.mul(kl, beta))
    metrics['kl'] = maskedMean(kl, mask)
  }
  let loss = average({ perToken, mask, numItems, config })
  if (entropy !== undefined) metrics['entropy'] = maskedMean(entropy, mask)
  if (entropy_coef !== 0)
    loss = tf.sub(loss, tf.mul(maskedMean(required(entropy, 'entropy', 'entropy_coef'), uncertain), entropy_coef))
  return { loss, metrics }
}

/** KL to the reference, from log-probabilities of what was drawn [B, T]. */
function estimated(batch: GrpoBatch, logProbs: tf.Tensor, ratio: tf.Tensor, config: GrpoLossConfig): tf.Tensor {
  const difference = tf.sub(logProbs, required(batch.refLogProbs, 'refLogProbs', 'beta'))
  const kl = estimators[config.kl_estimator](difference)
  return config.use_bias_correction_kl ? tf.mul(kl, ratio) : kl
}

/** @source http://joschu.net/blog/kl-approx.html */
const estimators: Record<GrpoLossConfig['kl_estimator'], (x: tf.Tensor) => tf.Tensor> = {
  k1: x => x,
  k2: x => tf.div(tf.square(x), 2),
  k3: x => tf.add(tf.expm1(tf.neg(x)), x),
}

/** 1 where a completion stays: its advantage is not negative, or it is about as likely as when it was drawn [B, 1] or [B, T]. */
function nearPolicy(logRatio: tf.Tensor, mask: tf.Tensor, advantage: tf.Tensor, threshold: number): tf.Tensor {
  return constant(ratio => {
    const near = tf.lessEqual(sequenceMean(tf.neg(ratio), mask), threshold) // [B, 1]
    return tf.cast(tf.logicalOr(tf.greaterEqual(advantage, 0), near), 'float32')
  }, logRatio)
}

/** 1 for the tokens of highest entropy, as torch.quantile draws the line: between the two nearest values, in proportion [B, T]. */
function mostUncertain(entropy: tf.Tensor, mask: tf.Tensor, share: number): tf.Tensor {
  return constant(given => {
    const active = tf.where(tf.cast(mask, 'bool'), given, tf.scalar(-1)) // entropies are at least 0
    const { values } = tf.topk(tf.reshape(active, [-1]), active.size) // falling; active tokens first
    const place = tf.mul(tf.maximum(tf.sub(tf.sum(mask), 1), 0), share)
    const at = (x: tf.Tensor) => tf.gather(values, tf.cast(x, 'int32'))
    const [high, low] = [at(tf.floor(place)), at(tf.ceil(place))]
    const line = tf.sub(high, tf.mul(tf.sub(high, low), tf.sub(place, tf.floor(place))))
    return tf.mul(tf.cast(tf.greaterEqual(active, line), 'float32'), mask)
  }, entropy)
}

interface SurrogateTerms {
  logProbs: tf.Tensor
  /** Of each token [B, T]. */
  logRatio: tf.Tensor
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

const gammaWeighted = ({ logProbs, logRatio, advantage, mask, config, metrics }: SurrogateTerms): tf.Tensor => {
  const up = tf.greaterEqual(advantage, 0)
  const k = tf.where(up, tf.scalar(config.vespo_k_pos), tf.scalar(config.vespo_k_neg))
  const decay = tf.where(up, tf.scalar(config.vespo_lambda_pos), tf.scalar(config.vespo_lambda_neg))
  const ofCompletion = tf.sum(tf.mul(tf.clipByValue(logRatio, -20, 20), mask), 1, true) // [B, 1]
  const logW = tf.clipByValue(ofCompletion, Math.log(1e-8), 20)
  const weight = stopGradient(tf.exp(tf.add(tf.mul(k, logW), tf.mul(decay, tf.sub(1, tf.exp(logW))))))
  metrics['vespo/phi_seq_mean'] = maskedMean(weight, mask)
  return tf.neg(tf.mul(tf.mul(weight, advantage), logProbs))
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

const lossTypes: Record<
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
  vespo: { surrogate: gammaWeighted, average: overAccumulatedTokens },
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
  if (value === undefined) throw new Error(`grpoLoss: ${name} is missing, needed by ${because}.`)
  return value
}

/** @throws naming the first field that is out of range */
export function checkGrpoLossConfig(where: string, config: GrpoLossConfig): void {
  requireOneOf(where, 'loss_type', config.loss_type, Object.keys(lossTypes))
  requireOneOf(where, 'kl_estimator', config.kl_estimator, Object.keys(estimators))
  requireOneOf(where, 'importance_sampling_level', config.importance_sampling_level, ['token', 'sequence'])
  requireInside(where, 'top_entropy_quantile', config.top_entropy_quantile, '[0, 1]')
  requireInside(where, 'beta', config.beta, '[0, ∞)')
  requireInside(where, 'epsilon', config.epsilon, '[0, ∞)')
}
