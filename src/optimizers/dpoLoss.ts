import * as tf from '@tensorflow/tfjs-core'
import { requireOneOf } from '../config.js'

/** What the loss of DPO depends on; names and defaults are those of TRL 1.16. */
export interface DpoLossConfig {
  /** How strongly the policy is held to the reference. */
  beta: number
  /** One loss, or several that are added with `loss_weights`; `sft` is the mean negative log-likelihood of a chosen token. */
  loss_type: DpoLossType | readonly DpoLossType[]
  /** null: 1 each. */
  loss_weights: readonly number[] | null
  /** Share of wrong labels that `robust`, `exo_pair`, `aot` and `aot_unpaired` reckon with; below 0.5. */
  label_smoothing: number
  /** What holds the policy to the reference (f-DPO, arXiv 2309.16240); others than `reverse_kl` only for losses of Δ, ipo, sigmoid_norm and sft. */
  f_divergence_type: FDivergenceType
  f_alpha_divergence_coef: number
  discopop_tau: number
}

export type DpoLossType =
  | 'sigmoid'
  | 'hinge'
  | 'ipo'
  | 'robust'
  | 'exo_pair'
  | 'nca_pair'
  | 'bco_pair'
  | 'sppo_hard'
  | 'aot'
  | 'aot_unpaired'
  | 'apo_zero'
  | 'apo_down'
  | 'discopop'
  | 'sigmoid_norm'
  | 'sft'

export type FDivergenceType = 'reverse_kl' | 'forward_kl' | 'js_divergence' | 'alpha_divergence'

export const dpoLossDefaults: DpoLossConfig = {
  beta: 0.1,
  loss_type: 'sigmoid',
  loss_weights: null,
  label_smoothing: 0,
  f_divergence_type: 'reverse_kl',
  f_alpha_divergence_coef: 0.5,
  discopop_tau: 0.05,
}

type Numbers = tf.Tensor | tf.TensorLike

export interface PairBatch {
  /** Scores under the weights in training [B]: log-probabilities, or −½ of a flow's squared errors. */
  chosen: Numbers
  rejected: Numbers
  /** Those under the reference [B]. */
  refChosen: Numbers
  refRejected: Numbers
  /** Lengths in tokens [B]; needed by ipo, sigmoid_norm and sft. */
  chosenLength?: Numbers
  rejectedLength?: Numbers
  /** 1 for pairs that count, 0 for pairs that do not [B]; left out: all count. */
  pairWeight?: Numbers
}

/** Preference loss, a mean over pairs, of c = chosen − refChosen, r = rejected − refRejected and Δ = f′(c) − f′(r).
 *
 * | loss_type | per pair |
 * |---|---|
 * | sigmoid | −logσ(βΔ) |
 * | hinge | relu(1 − βΔ) |
 * | ipo | (f′(c)/|chosen| − f′(r)/|rejected| − 1/(2β))² |
 * | robust | [−(1−ε)logσ(βΔ) + ε·logσ(−βΔ)] / (1−2ε) |
 * | exo_pair | σ(βΔ)·[logσ(βΔ) − log(1−ε)] + σ(−βΔ)·[logσ(−βΔ) − log ε] |
 * | nca_pair | −logσ(βc) − ½logσ(−βc) − ½logσ(−βr) |
 * | bco_pair | −logσ(βc) − logσ(−βr) |
 * | sppo_hard | (c − 1/(2β))² + (r + 1/(2β))² |
 * | aot | −(1−ε)logσ(βs) − ε·logσ(−βs), s: sorted (chosen − rejected) − sorted (refChosen − refRejected) |
 * | aot_unpaired | the same, s: sorted c − sorted r |
 * | apo_zero | 1 − σ(βc) + σ(βr) |
 * | apo_down | σ(βc) + 1 − σ(βΔ) |
 * | discopop | (1−κ)·(−logσ(βΔ)) + κ·exp(−βΔ), κ = σ(βΔ/τ) |
 * | sigmoid_norm | −logσ(β(f′(c)/|chosen| − f′(r)/|rejected|)) |
 * | sft | −Σ chosen / Σ|chosen|, of the whole batch |
 *
 * f′ is the derivative of the divergence at the ratio whose logarithm it is given: reverse_kl x; forward_kl 1 − e⁻ˣ; js_divergence
 * log 2 + logσ(x); alpha_divergence (e^{(α−1)x} − 1)/(α−1).
 *
 * @returns loss and the metrics `rewards/{chosen,rejected,accuracies,margins}` and `logps/{chosen,rejected}`, scalars
 * @source TRL 1.16, DPOTrainer._compute_loss; sigmoid: arXiv 2305.18290 */
export function dpoLoss(
  batch: PairBatch,
  options: Partial<DpoLossConfig> = {},
): { loss: tf.Tensor; metrics: Record<string, tf.Tensor> } {
  const config = { ...dpoLossDefaults, ...options }
  checkDpoLossConfig('dpoLoss', config)
  const pair = toTerms(batch, config)
  const lossTypes = [config.loss_type].flat()
  const weights = config.loss_weights ?? lossTypes.map(() => 1)
  const mean = (x: tf.Tensor) => tf.div(tf.sum(tf.mul(x, pair.weight)), tf.maximum(tf.sum(pair.weight), 1))
  const losses = lossTypes.map((type, i) => tf.mul(mean(perPair[type](pair)), weights[i]!))
  const [chosen, rejected] = [tf.mul(pair.c, config.beta), tf.mul(pair.r, config.beta)]
  return {
    loss: tf.addN(losses),
    metrics: {
      'rewards/chosen': mean(chosen),
      'rewards/rejected': mean(rejected),
      'rewards/accuracies': mean(tf.cast(tf.greater(chosen, rejected), 'float32')),
      'rewards/margins': mean(tf.sub(chosen, rejected)),
      'logps/chosen': mean(pair.chosen),
      'logps/rejected': mean(pair.rejected),
    },
  }
}

interface PairTerms {
  chosen: tf.Tensor
  rejected: tf.Tensor
  /** refChosen − refRejected. */
  refMargin: tf.Tensor
  c: tf.Tensor
  r: tf.Tensor
  /** f′(c) and f′(r); c and r for reverse_kl. */
  cScore: tf.Tensor
  rScore: tf.Tensor
  delta: tf.Tensor
  /** Lengths, at least 1. */
  chosenLength: () => tf.Tensor
  rejectedLength: () => tf.Tensor
  weight: tf.Tensor
  config: DpoLossConfig
}

const minusLogSigmoid = (x: tf.Tensor): tf.Tensor => tf.softplus(tf.neg(x))

const perPair: Record<DpoLossType, (pair: PairTerms) => tf.Tensor> = {
  sigmoid: ({ delta, config }) => minusLogSigmoid(tf.mul(delta, config.beta)),
  hinge: ({ delta, config }) => tf.relu(tf.sub(1, tf.mul(delta, config.beta))),
  ipo: pair => tf.square(tf.sub(lengthNormalized(pair), 1 / (2 * pair.config.beta))),
  robust: ({ delta, config: { beta, label_smoothing: e } }) => {
    const logit = tf.mul(delta, beta)
    const [clean, flipped] = [minusLogSigmoid(logit), minusLogSigmoid(tf.neg(logit))]
    return tf.div(tf.sub(tf.mul(clean, 1 - e), tf.mul(flipped, e)), 1 - 2 * e)
  },
  exo_pair: ({ delta, config: { beta, label_smoothing: e } }) => {
    const logit = tf.mul(delta, beta)
    const term = (x: tf.Tensor, p: number) => tf.mul(tf.sigmoid(x), tf.neg(tf.add(minusLogSigmoid(x), Math.log(p))))
    return tf.add(term(logit, 1 - e), term(tf.neg(logit), e))
  },
  nca_pair: ({ c, r, config: { beta } }) => {
    const [chosen, rejected] = [tf.mul(c, beta), tf.mul(r, beta)]
    const down = tf.add(minusLogSigmoid(tf.neg(chosen)), minusLogSigmoid(tf.neg(rejected)))
    return tf.add(minusLogSigmoid(chosen), tf.mul(down, 0.5))
  },
  bco_pair: ({ c, r, config: { beta } }) => tf.add(minusLogSigmoid(tf.mul(c, beta)), minusLogSigmoid(tf.mul(r, -beta))),
  sppo_hard: ({ c, r, config: { beta } }) => tf.add(tf.square(tf.sub(c, 0.5 / beta)), tf.square(tf.add(r, 0.5 / beta))),
  aot: ({ chosen, rejected, refMargin, config }) =>
    smoothed(tf.sub(sorted(tf.sub(chosen, rejected)), sorted(refMargin)), config),
  aot_unpaired: ({ c, r, config }) => smoothed(tf.sub(sorted(c), sorted(r)), config),
  apo_zero: ({ c, r, config: { beta } }) => tf.add(tf.sub(1, tf.sigmoid(tf.mul(c, beta))), tf.sigmoid(tf.mul(r, beta))),
  apo_down: ({ c, delta, config: { beta } }) =>
    tf.add(tf.sigmoid(tf.mul(c, beta)), tf.sub(1, tf.sigmoid(tf.mul(delta, beta)))),
  discopop: ({ delta, config: { beta, discopop_tau } }) => {
    const logit = tf.mul(delta, beta)
    const share = tf.sigmoid(tf.div(logit, discopop_tau))
    return tf.add(tf.mul(minusLogSigmoid(logit), tf.sub(1, share)), tf.mul(tf.exp(tf.neg(logit)), share))
  },
  sigmoid_norm: pair => minusLogSigmoid(tf.mul(lengthNormalized(pair), pair.config.beta)),
  sft: ({ chosen, chosenLength, weight }) =>
    tf.div(tf.mul(tf.neg(chosen), tf.sum(weight)), tf.maximum(tf.sum(tf.mul(chosenLength(), weight)), 1)),
}

/** f′(c)/|chosen| − f′(r)/|rejected|. */
function lengthNormalized({ cScore, rScore, chosenLength, rejectedLength }: PairTerms): tf.Tensor {
  return tf.sub(tf.div(cScore, chosenLength()), tf.div(rScore, rejectedLength()))
}

/** −(1−ε)logσ(βx) − ε·logσ(−βx). */
function smoothed(x: tf.Tensor, { beta, label_smoothing: e }: DpoLossConfig): tf.Tensor {
  const logit = tf.mul(x, beta)
  return tf.add(tf.mul(minusLogSigmoid(logit), 1 - e), tf.mul(minusLogSigmoid(tf.neg(logit)), e))
}

/** Largest first; gradients go back to where the values came from. */
const sorted = tf.customGrad((...given) => {
  const [x, save] = given as [tf.Tensor, tf.GradSaveFunc]
  const { values, indices } = tf.topk(x, x.size)
  save([tf.topk(tf.neg(tf.cast(indices, 'float32')), x.size).indices]) // the place of each x in the order
  return { value: values, gradFunc: (dy: tf.Tensor, [places]: tf.Tensor[]) => tf.gather(dy, places as tf.Tensor1D) }
})

/** f′ at e^x. */
const divergences: Record<FDivergenceType, (x: tf.Tensor, alpha: number) => tf.Tensor> = {
  reverse_kl: x => x,
  forward_kl: x => tf.neg(tf.expm1(tf.neg(x))),
  js_divergence: x => tf.sub(Math.LN2, tf.softplus(tf.neg(x))),
  // TRL's bound on the exponent, and its limit at α = 1
  alpha_divergence: (x, alpha) =>
    Math.abs(alpha - 1) < 1e-6 ? x : tf.div(tf.expm1(tf.minimum(tf.mul(x, alpha - 1), 80)), alpha - 1),
}

/** Losses that know no other divergence than reverse_kl. */
const REVERSE_KL_ONLY: readonly DpoLossType[] = ['nca_pair', 'bco_pair', 'sppo_hard', 'aot', 'aot_unpaired', 'apo_zero', 'apo_down'] // prettier-ignore

function toTerms(batch: PairBatch, config: DpoLossConfig): PairTerms {
  const [chosen, rejected] = [tf.cast(batch.chosen, 'float32'), tf.cast(batch.rejected, 'float32')]
  const [c, r] = [tf.sub(chosen, batch.refChosen), tf.sub(rejected, batch.refRejected)]
  const f = (x: tf.Tensor) => divergences[config.f_divergence_type](x, config.f_alpha_divergence_coef)
  const [cScore, rScore] = [f(c), f(r)]
  const length = (name: 'chosenLength' | 'rejectedLength') => () => {
    const given = batch[name]
    if (given === undefined)
      throw new Error(`dpoLoss: ${name} is missing, needed by loss_type ${String(config.loss_type)}. Pass lengths [B].`)
    return tf.maximum(tf.cast(given, 'float32'), 1)
  }
  return {
    chosen,
    rejected,
    refMargin: tf.sub(batch.refChosen, batch.refRejected),
    c,
    r,
    cScore,
    rScore,
    delta: tf.sub(cScore, rScore),
    chosenLength: length('chosenLength'),
    rejectedLength: length('rejectedLength'),
    weight: batch.pairWeight === undefined ? tf.onesLike(chosen) : tf.cast(batch.pairWeight, 'float32'),
    config,
  }
}

/** @throws naming the first field that is out of range */
export function checkDpoLossConfig(where: string, config: DpoLossConfig): void {
  const { label_smoothing: e, loss_weights } = config
  const lossTypes = [config.loss_type].flat()
  for (const type of lossTypes) requireOneOf(where, 'loss_type', type, Object.keys(perPair))
  if (loss_weights !== null && loss_weights.length !== lossTypes.length)
    throw new Error(
      `${where}: ${loss_weights.length} loss_weights for ${lossTypes.length} loss types. Give one weight each.`,
    )
  if (!(e >= 0 && e < 0.5)) throw new Error(`${where}: label_smoothing is ${e}, needs at least 0 and below 0.5.`)
  if (e === 0 && lossTypes.includes('exo_pair'))
    throw new Error(`${where}: label_smoothing is 0, needs more for loss_type exo_pair. Use for example 0.001.`)
  requireOneOf(where, 'f_divergence_type', config.f_divergence_type, Object.keys(divergences))
  const unfit = lossTypes.find(type => REVERSE_KL_ONLY.includes(type))
  if (config.f_divergence_type !== 'reverse_kl' && unfit !== undefined)
    throw new Error(
      `${where}: loss_type ${unfit} is defined for f_divergence_type "reverse_kl" only, found "${config.f_divergence_type}". Leave one out.`,
    )
  if (!(config.beta > 0)) throw new Error(`${where}: beta is ${config.beta}, needs more than 0, for example 0.1.`)
}
