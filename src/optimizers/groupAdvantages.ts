import * as tf from '@tensorflow/tfjs-core'
import { requireOneOf, resolveConfig } from '../config.js'

export interface AdvantageOptions {
  /** Weight of each component; null: all 1. */
  weights: readonly number[] | null
  /** Rows per prompt; the rows of a group are side by side. */
  num_generations: number
  /** Divide by the standard deviation of the group, of the batch, or not at all. */
  scale_rewards: 'group' | 'batch' | 'none'
  /** `normalize_then_sum`: each component is normalised in its group, weighted, summed, and normalised over the batch
   * (GDPO, arXiv 2601.05242). */
  multi_objective_aggregation: 'sum_then_normalize' | 'normalize_then_sum'
  /** Added to the standard deviation: 1e-4 in TRL, 1e-6 in verl, 1e-8 in DanceGRPO. */
  advantage_epsilon: number
  /** What is subtracted: the mean of the group, of the batch, or a given value (a moving average). */
  baseline: 'group' | 'batch' | number
}

export const advantageDefaults: AdvantageOptions = {
  weights: null,
  num_generations: 8,
  scale_rewards: 'group',
  multi_objective_aggregation: 'sum_then_normalize',
  advantage_epsilon: 1e-4,
  baseline: 'group',
}

/** Scores of a batch by component: [K][N]; null or NaN where a reward does not apply. */
export type Components = readonly (readonly (number | null)[])[] | tf.Tensor

/** Group-relative advantages (r − mean) / (std + ε) of weighted rewards.
 *
 * A component that does not apply to a row counts as 0 there, without re-weighting the others; a row to which none
 * applies has advantage 0 and is left out of means and deviations. Deviations are Bessel-corrected.
 * @param components [K][N], unitless
 * @returns [N] float32
 * @throws if N is not a multiple of `num_generations`
 * @source DeepSeekMath, arXiv 2402.03300; edge cases as TRL's GRPOTrainer */
export function groupAdvantages(components: Components, options: Partial<AdvantageOptions> = {}): tf.Tensor1D {
  return tf.tensor1d(advantages(components, options).advantages)
}

/** {@link groupAdvantages} with what a log wants to know, on the host. */
export function advantages(
  components: Components,
  options: Partial<AdvantageOptions> = {},
): {
  advantages: number[]
  /** Weighted sums before normalisation; NaN where no component applies. */
  rewards: number[]
  /** Share of the rows that teach nothing because the rewards they are compared with tie. */
  fracZeroStd: number
} {
  const config = resolveConfig('groupAdvantages', advantageDefaults, options)
  const { num_generations: G, advantage_epsilon: epsilon } = config
  requireOneOf('groupAdvantages', 'scale_rewards', config.scale_rewards, ['group', 'batch', 'none'])
  requireOneOf('groupAdvantages', 'multi_objective_aggregation', config.multi_objective_aggregation, [
    'sum_then_normalize',
    'normalize_then_sum',
  ])
  const scores = toRows(components)
  const N = scores[0]!.length
  const weights = config.weights ?? scores.map(() => 1)
  if (weights.length !== scores.length)
    throw new Error(
      `groupAdvantages: got ${weights.length} weights for ${scores.length} components. Give one weight each.`,
    )
  if (N % G !== 0) throw new Error(`groupAdvantages: rows (${N}) must be divisible by num_generations (${G}).`)

  const perGroup = (values: number[], f: (group: number[]) => number[]) =>
    Array.from({ length: N / G }, (_, p) => f(values.slice(p * G, (p + 1) * G))).flat()
  const normalize = (group: number[]) => {
    const [mean, deviation] = [nanMean(group), nanStd(group)]
    return group.map(r => (r - mean) / (deviation + epsilon))
  }

  const rewards = weightedSum(scores, weights)
  const spread = (group: number[]) => group.map(() => nanStd(group))
  const zeroStd = (deviations: number[]) => deviations.filter(d => Math.abs(d) <= ZERO_STD).length / N
  if (config.multi_objective_aggregation === 'normalize_then_sum') {
    const sums = weightedSum(
      scores.map(row => perGroup(row, normalize)),
      weights,
    )
    return { advantages: normalize(sums).map(orZero), rewards, fracZeroStd: zeroStd(spread(sums)) }
  }
  const deviations = config.scale_rewards === 'batch' ? spread(rewards) : perGroup(rewards, spread)
  const baselines = perGroup(rewards, group =>
    group.map(() =>
      typeof config.baseline === 'number' ? config.baseline : nanMean(config.baseline === 'group' ? group : rewards),
    ),
  )
  const scale = (n: number) => (config.scale_rewards === 'none' ? 1 : deviations[n]! + epsilon)
  return {
    advantages: rewards.map((r, n) => orZero((r - baselines[n]!) / scale(n))),
    rewards,
    fracZeroStd: zeroStd(deviations),
  }
}

/** Below this a standard deviation counts as none: torch.isclose's absolute tolerance. */
const ZERO_STD = 1e-8

/** Σ wₖ·rₖ of each row [N]; a missing component counts as 0, a row without any is NaN. */
export function weightedSum(components: readonly (readonly (number | null)[])[], weights: readonly number[]): number[] {
  return components[0]!.map((_, n) => {
    const present = components.flatMap((row, k) => (Number.isNaN(row[n] ?? NaN) ? [] : [weights[k]! * row[n]!]))
    return present.length === 0 ? NaN : present.reduce((sum, v) => sum + v, 0)
  })
}

/** Mean of the numbers that are not NaN. */
export function nanMean(values: readonly number[]): number {
  const present = values.filter(v => !Number.isNaN(v))
  return present.reduce((sum, v) => sum + v, 0) / present.length
}

/** Bessel-corrected standard deviation of the numbers that are not NaN; NaN for fewer than two. */
export function nanStd(values: readonly number[]): number {
  const present = values.filter(v => !Number.isNaN(v))
  const mean = nanMean(present)
  return present.length < 2
    ? NaN
    : Math.sqrt(present.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (present.length - 1))
}

const orZero = (x: number): number => (Number.isNaN(x) ? 0 : x)

function toRows(components: Components): number[][] {
  const rows = components instanceof tf.Tensor ? (components.arraySync() as number[][]) : components
  if (rows.length === 0 || rows[0]!.length === 0)
    throw new Error('groupAdvantages: got no scores, needs components [K][N] with at least one row.')
  return rows.map(row => row.map(score => score ?? NaN))
}
