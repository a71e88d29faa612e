import * as tf from '@tensorflow/tfjs-core'
import { repeatRows } from '../nn/index.js'
import { jit, mapTensors, random, scan, type TensorTree } from '../xla/index.js'
import { cpsStep, sdeStep, type FlowStep, type FlowStepResult } from './flowSteps.js'

/* Letters: n prompts, G generations, B = n·G rows, S random steps, P tokens of C numbers. */

/** How a random step is taken: as in Flow-GRPO, or as in Flow-CPS. */
export const FLOW_STEPS: Record<'sde' | 'cps', (step: FlowStep) => FlowStepResult> = { sde: sdeStep, cps: cpsStep }

/** The random steps of each row, as a policy computes their log-probabilities again. */
export type StepRows = {
  x: tf.Tensor // [B, S, P, C]
  next: tf.Tensor // [B, S, P, C]
  sigma: tf.Tensor // [B, S]
  sigmaNext: tf.Tensor // [B, S]
  eta: tf.Tensor // [B, S]
}

/** What may change from call to call without another program. */
export type FlowDraw = {
  sigma: tf.Tensor // [steps], and so the next two
  sigmaNext: tf.Tensor
  eta: tf.Tensor
  key: tf.Tensor // int32 [2]
}

/** What a program is made for. */
export type FlowPlan = {
  /** Samples per prompt, G. */
  generations: number
  /** P and C. */
  tokens: [count: number, size: number]
  /** The random steps: from this one … */
  from: number
  /** … up to, without, this one; others follow the ODE. */
  to: number
  type: keyof typeof FLOW_STEPS
  /** Whether the samples of a prompt start from the same noise. */
  shared: boolean
}

/** Conditions are repeated for the generations [B, …]; without random steps logProbs and mean are [B, 0]. */
export type FlowDrawn<Conditions> = Conditions & {
  latents: tf.Tensor // [B, P, C]
  logProbs: tf.Tensor // [B, S]
  /** That the random steps were drawn around. */
  mean: tf.Tensor // [B, S, P, C]
  /** The random steps, under the way they were taken. */
  sde?: StepRows
  cps?: StepRows
}

/** Makes a flow model's sampling program: all denoising steps of all rows at once, before the window of random steps, in it, and after it.
 * @param velocity of rows x [B, P, C] at levels sigma [B] under conditions [B, …]
 * @returns a program of weights, conditions [n, …], a draw and a plan */
export function flowRollout<Conditions extends Record<string, tf.Tensor>>(
  velocity: (weights: TensorTree, x: tf.Tensor, sigma: tf.Tensor, conditions: Conditions) => tf.Tensor,
): (weights: TensorTree, prompts: Conditions, draw: FlowDraw, plan: FlowPlan) => Promise<FlowDrawn<Conditions>> {
  function rollout(weights: TensorTree, prompts: Conditions, draw: FlowDraw, plan: FlowPlan): FlowDrawn<Conditions> {
    const { generations: G, tokens, from, to, type } = plan
    const conditions = mapTensors<Conditions>(prompts, t => repeatRows(t, G))
    const n = Object.values(prompts)[0]!.shape[0]
    const B = n * G
    const [first, later] = random.split(draw.key) as [tf.Tensor, tf.Tensor]
    const noise = plan.shared
      ? repeatRows(random.normal(first, [n, ...tokens]), G)
      : random.normal(first, [B, ...tokens])
    const steps = draw.sigma.shape[0]
    const keys = tf.stack(random.split(later, steps))
    const each = (level: tf.Tensor) => tf.broadcastTo(tf.reshape(level, [1]), [B])

    /** Steps a … b − 1. */
    const walk = <Y extends TensorTree>(x: tf.Tensor, a: number, b: number, take: Take<Y>): [tf.Tensor, Y | null] => {
      if (a === b) return [x, null]
      const part = (t: tf.Tensor) => tf.slice(t, a, b - a)
      const xs = { sigma: part(draw.sigma), sigmaNext: part(draw.sigmaNext), eta: part(draw.eta), key: part(keys) }
      const step = (x: tf.Tensor, at: Level): [tf.Tensor, Y] =>
        take(x, velocity(weights, x, each(at.sigma), conditions), at)
      return scan(step, x, xs)
    }
    const ode: Take<{ none: tf.Tensor }> = (x, v, { sigma, sigmaNext }) => [
      tf.add(x, tf.mul(v, tf.sub(sigmaNext, sigma))),
      { none: tf.zeros([0]) },
    ]
    const drawn: Take<Taken> = (x, v, { key, ...at }) => {
      const { next, logProb, mean } = FLOW_STEPS[type]({ x, v, ...at, noise: random.normal(key, x.shape) })
      return [next, { x, next, logProb, mean, ...mapTensors(at, each) }]
    }
    const [before] = walk(noise, 0, from, ode)
    const [window, taken] = walk(before, from, to, drawn)
    const [latents] = walk(window, to, steps, ode)
    const byRow = (t: tf.Tensor) => tf.transpose(t, [1, 0, ...t.shape.slice(2).map((_, i) => i + 2)]) // [S, B, …] → [B, S, …]
    if (!taken) return { ...conditions, latents, logProbs: tf.zeros([B, 0]), mean: tf.zeros([B, 0]) }
    const { logProb, mean, ...rows } = taken
    return { ...conditions, latents, logProbs: byRow(logProb), mean: byRow(mean), [type]: mapTensors(rows, byRow) }
  }
  type Program = typeof rollout
  const tidied = (...args: Parameters<Program>) => tf.tidy(() => rollout(...args) as unknown as tf.TensorContainer)
  return jit(tidied as unknown as Program, { name: 'rollout' }).async
}

type Level = { sigma: tf.Tensor; sigmaNext: tf.Tensor; eta: tf.Tensor; key: tf.Tensor } // scalars, and a key
type Take<Y> = (x: tf.Tensor, v: tf.Tensor, at: Level) => [tf.Tensor, Y]
type Taken = StepRows & { logProb: tf.Tensor; mean: tf.Tensor }
