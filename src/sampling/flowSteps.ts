import * as tf from '@tensorflow/tfjs-core'

/** A step of a flow model from one noise level to the next, by a random number or to a given place. Numbers or [B] stand for levels. */
export interface FlowStep {
  /** Where it starts [B, …]. */
  x: tf.Tensor
  /** The predicted velocity, noise less data [B, …]. */
  v: tf.Tensor
  /** Noise level at x, in (0, 1]. */
  sigma: number | tf.Tensor
  /** Level to go to, below sigma. */
  sigmaNext: number | tf.Tensor
  /** How random the step is; 0 is the ODE's step. */
  eta: number | tf.Tensor
  /** Standard normal [B, …]; left out where `next` is given. */
  noise?: tf.Tensor
  /** The place whose log-probability is asked for [B, …]. */
  next?: tf.Tensor
}

export interface FlowStepResult {
  /** [B, …] */
  next: tf.Tensor
  /** Of the normal distribution of `next` [B, …]. */
  mean: tf.Tensor
  /** One a row, in a shape that broadcasts: [B, 1, …] or []. */
  std: tf.Tensor
  /** Mean over all entries of a row of their log-density [B]. A mean, as in Flow-GRPO: ratios lie close to 1, and clip ranges of
   * 1e-5 … 1e-3 are usual. */
  logProb: tf.Tensor
}

/** A step of the stochastic differential equation that has the flow's marginals. With s = η·√(σ/(1 − σ)), where at σ = 1 the next
 * level stands in the denominator, and dt = σ' − σ:
 *
 *   mean = x·(1 + s²·dt/2σ) + v·(1 + s²·(1 − σ)/2σ)·dt,  std = s·√−dt
 *
 * Computed in float32.
 * @source Flow-GRPO, arXiv 2505.05470, equation 9, and its code */
export function sdeStep(step: FlowStep): FlowStepResult {
  const { x, v } = step
  const [sigma, sigmaNext, eta] = levels(step)
  const dt = tf.sub(sigmaNext, sigma)
  const rest = tf.where(tf.greaterEqual(sigma, 1), tf.sub(1, sigmaNext), tf.sub(1, sigma))
  const s = tf.mul(eta, tf.sqrt(tf.div(sigma, rest)))
  const half = tf.div(tf.square(s), tf.mul(sigma, 2)) // s²/2σ
  const ofX = tf.mul(x, tf.add(1, tf.mul(half, dt)))
  const ofV = tf.mul(v, tf.mul(tf.add(1, tf.mul(half, tf.sub(1, sigma))), dt))
  const mean = tf.add(ofX, ofV)
  const std = tf.mul(s, tf.sqrt(tf.neg(dt)))
  const next = step.next ?? tf.add(mean, tf.mul(std, needed(step.noise)))
  const squares = tf.div(tf.square(tf.sub(next, mean)), tf.mul(2, tf.square(std)))
  const density = tf.neg(tf.add(squares, tf.add(tf.log(std), Math.log(2 * Math.PI) / 2)))
  return { next, mean, std, logProb: rowMean(density) }
}

/** Coefficients-preserving sampling: what is random replaces a part of the predicted noise, so that samples are as noisy as the level
 * says. With s = σ'·sin(η·π/2), x̂₀ = x − σ·v and ε̂ = x + (1 − σ)·v:
 *
 *   mean = (1 − σ')·x̂₀ + √(σ'² − s²)·ε̂,  std = s
 *
 * and as log-probability −(next − mean)², without the terms that do not depend on the weights and without the division by s².
 * @source Flow-CPS, arXiv 2509.05952 */
export function cpsStep(step: FlowStep): FlowStepResult {
  const { x, v } = step
  const [sigma, sigmaNext, eta] = levels(step)
  const std = tf.mul(sigmaNext, tf.sin(tf.mul(eta, Math.PI / 2)))
  const clean = tf.sub(x, tf.mul(sigma, v))
  const noisy = tf.add(x, tf.mul(tf.sub(1, sigma), v))
  const kept = tf.sqrt(tf.maximum(tf.sub(tf.square(sigmaNext), tf.square(std)), 0))
  const mean = tf.add(tf.mul(tf.sub(1, sigmaNext), clean), tf.mul(kept, noisy))
  const next = step.next ?? tf.add(mean, tf.mul(std, needed(step.noise)))
  return { next, mean, std, logProb: rowMean(tf.neg(tf.square(tf.sub(next, mean)))) }
}

/** As tensors that broadcast to x. */
function levels({ x, sigma, sigmaNext, eta }: FlowStep): [sigma: tf.Tensor, sigmaNext: tf.Tensor, eta: tf.Tensor] {
  const shaped = (t: number | tf.Tensor) =>
    typeof t === 'number' || t.rank === 0
      ? tf.cast(t, 'float32')
      : tf.reshape(t, [-1, ...x.shape.slice(1).map(() => 1)])
  return [shaped(sigma), shaped(sigmaNext), shaped(eta)]
}

function rowMean(x: tf.Tensor): tf.Tensor {
  return tf.mean(tf.reshape(x, [x.shape[0], -1]), 1)
}

function needed(noise: tf.Tensor | undefined): tf.Tensor {
  if (!noise) throw new Error('a flow step got neither noise nor next, needed one of them.')
  return noise
}
