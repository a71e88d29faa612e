import * as tf from '@tensorflow/tfjs-core'
import type { FlowMatchEulerConfig } from '../models/index.js'
import { astype, typeOf } from '../xla/index.js'

/** The noise levels of a sampler with that many steps, from 1 down to 0: 1, 1 − 1/n, …, 1/n, 0, each but the last moved by
 * s·σ/(1 + (s − 1)·σ). The shift s is the config's, or exp(μ) with μ on the line through (base_image_seq_len, base_shift) and
 * (max_image_seq_len, max_shift).
 * @param tokens image tokens of the target, without a reference image's
 * @returns steps + 1 numbers; the transformer's `timestep` is such a number
 * @source diffusers 0.42, FlowMatchEulerDiscreteScheduler.set_timesteps and FluxPipeline's calculate_shift; arXiv 2403.03206, section 5.3.2 */
export function flowMatchSigmas(config: FlowMatchEulerConfig, steps: number, tokens: number): number[] {
  if (!Number.isInteger(steps) || steps < 1)
    throw new Error(`flowMatchSigmas: ${steps} steps, needed an integer ≥ 1. 28 is usual for FLUX.1.`)
  const s = config.use_dynamic_shifting ? Math.exp(dynamicShift(config, tokens)) : config.shift
  return Array.from({ length: steps + 1 }, (_, i) => {
    const sigma = 1 - i / steps
    return (s * sigma) / (1 + (s - 1) * sigma)
  })
}

/** μ of {@link flowMatchSigmas}. */
function dynamicShift(config: FlowMatchEulerConfig, tokens: number): number {
  const { base_shift, max_shift, base_image_seq_len, max_image_seq_len } = config
  const slope = (max_shift - base_shift) / (max_image_seq_len - base_image_seq_len)
  return base_shift + slope * (tokens - base_image_seq_len)
}

/** One step along the velocity, x + (σ' − σ)·v, computed in f32.
 * @param step.x sample, of any shape
 * @param step.v predicted velocity, as x
 * @param step.sigma its noise level: a number, or a tensor that broadcasts to x
 * @param step.sigmaNext the level to go to
 * @returns in v's type */
export function eulerStep(step: {
  x: tf.Tensor
  v: tf.Tensor
  sigma: number | tf.Tensor
  sigmaNext: number | tf.Tensor
}): tf.Tensor {
  const { x, v, sigma, sigmaNext } = step
  const change = tf.mul(astype(v, 'f32'), tf.sub(sigmaNext, sigma))
  return astype(tf.add(astype(x, 'f32'), change), typeOf(v))
}
