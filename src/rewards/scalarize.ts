import type * as tf from '@tensorflow/tfjs-core'
import type { Score } from './reward.js'

export interface ScalarizeOptions {
  /** One weight a component. */
  weights: readonly number[]
  /** What a score is measured in. `none` (default): as it is; `group`: standard deviations from its prompt's mean;
   * `running`: standard deviations from the mean of all scores so far. */
  normalization?: 'none' | 'group' | 'running'
  /** How components become one reward. `linear` (default): Σ wᵢzᵢ; `chebyshev`: −maxᵢ wᵢ(idealᵢ − zᵢ). */
  scalarization?: 'linear' | 'chebyshev'
  /** Samples a prompt, side by side; `group` needs it. */
  num_generations?: number
  /** Statistics that `running` continues from: those that the step before returned. Default: none seen. */
  statistics?: RunningStatistics
}

/** Mean and sum of squared deviations of each component's scores so far; plain numbers, to be stored with the train state. */
export interface RunningStatistics {
  count: number[]
  mean: number[]
  squares: number[]
}

export interface Scalarized {
  /** [N]; null where no component applies. */
  reward: Score[]
  /** [K][N], wᵢzᵢ under `linear`; under `chebyshev` the component that binds carries the whole reward. They add up to the
   * reward; 0 where a component does not apply. */
  contributions: number[][]
  /** Present under `running`: the given statistics continued by this batch. */
  statistics?: RunningStatistics
}

/** Added to a standard deviation before dividing, as in TRL's group advantage. */
const EPSILON = 1e-4

/** One reward out of several, with each component's contribution to it.
 *
 * z is the normalised score: (r − mean)/(std + 1e-4), std with Bessel's correction, over the scores that apply; 0 where they
 * tie. Chebyshev looks at the component furthest below its ideal, which is the best z of the batch, so that it also
 * reaches the concave parts of a Pareto front.
 * @param components [K][N] scores, null (NaN in a tensor) where one does not apply
 * @throws on a wrong number of weights, components of different lengths, a batch that is not whole groups, or a negative weight under `chebyshev`
 * @source Chebyshev: Van Moffaert, Drugan and Nowé, Scalarized Multi-Objective Reinforcement Learning, ADPRL 2013 */
export function scalarize(
  components: readonly (readonly Score[])[] | tf.Tensor2D,
  options: ScalarizeOptions,
): Scalarized {
  const { weights, normalization = 'none', scalarization = 'linear', num_generations, statistics } = options
  const scores = 'arraySync' in components ? scoresOf(components) : components // [K][N]
  const size = scores[0]?.length ?? 0
  check(scores, options)

  let seen: RunningStatistics | undefined
  let z: readonly (readonly Score[])[] // [K][N]
  switch (normalization) {
    case 'none':
      z = scores
      break
    case 'group':
      z = scores.map(row => groups(row, num_generations!).flatMap(group => standardized(group, moments(group))))
      break
    case 'running': {
      const now = scores.map((row, k) => merged(momentsAt(statistics, k), moments(row)))
      z = scores.map((row, k) => standardized(row, now[k]!))
      seen = { count: now.map(m => m.count), mean: now.map(m => m.mean), squares: now.map(m => m.squares) }
      break
    }
  }

  const contributions = scalarization === 'linear' ? linear(z, weights) : chebyshev(z, weights, size)
  const reward = Array.from({ length: size }, (_, n) =>
    z.every(row => row[n] === null) ? null : contributions.reduce((sum, row) => sum + row[n]!, 0),
  )
  return { reward, contributions, ...(seen && { statistics: seen }) }
}

function linear(z: readonly (readonly Score[])[], weights: readonly number[]): number[][] {
  return z.map((row, k) => row.map(value => weights[k]! * (value ?? 0)))
}

function chebyshev(z: readonly (readonly Score[])[], weights: readonly number[], size: number): number[][] {
  const ideals = z.map(row => row.reduce<number>((best, value) => Math.max(best, value ?? -Infinity), -Infinity))
  const contributions = z.map(() => new Array<number>(size).fill(0))
  for (let n = 0; n < size; n++) {
    let binding = 0
    let largest = 0
    z.forEach((row, k) => {
      const gap = row[n] === null ? 0 : weights[k]! * (ideals[k]! - row[n]!)
      if (gap > largest) [binding, largest] = [k, gap]
    })
    if (largest > 0) contributions[binding]![n] = -largest
  }
  return contributions
}

interface Moments {
  count: number
  mean: number
  /** Σ (r − mean)² */
  squares: number
}

function moments(scores: readonly Score[]): Moments {
  const present = scores.filter(score => score !== null)
  const count = present.length
  if (present.every(score => score === present[0])) return { count, mean: present[0] ?? 0, squares: 0 } // a tie, exactly
  const mean = present.reduce((sum, score) => sum + score, 0) / count
  return { count, mean, squares: present.reduce((sum, score) => sum + (score - mean) ** 2, 0) }
}

/** The moments of two sets together.
 * @source Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979 */
function merged(a: Moments, b: Moments): Moments {
  const count = a.count + b.count
  if (a.count === 0 || b.count === 0) return a.count === 0 ? b : a
  const delta = b.mean - a.mean
  return {
    count,
    mean: a.mean + (delta * b.count) / count,
    squares: a.squares + b.squares + (delta ** 2 * a.count * b.count) / count,
  }
}

function momentsAt(statistics: RunningStatistics | undefined, k: number): Moments {
  if (statistics === undefined) return { count: 0, mean: 0, squares: 0 }
  return { count: statistics.count[k]!, mean: statistics.mean[k]!, squares: statistics.squares[k]! }
}

function standardized(scores: readonly Score[], { count, mean, squares }: Moments): Score[] {
  const std = count > 1 ? Math.sqrt(squares / (count - 1)) : 0
  return scores.map(score => (score === null ? null : (score - mean) / (std + EPSILON)))
}

function groups<T>(row: readonly T[], size: number): T[][] {
  return Array.from({ length: row.length / size }, (_, g) => row.slice(g * size, (g + 1) * size))
}

function scoresOf(components: tf.Tensor2D): Score[][] {
  return components.arraySync().map(row => row.map(score => (Number.isNaN(score) ? null : score)))
}

function check(scores: readonly (readonly Score[])[], options: ScalarizeOptions): void {
  const { weights, normalization, scalarization, num_generations = 0, statistics } = options
  const sizes = scores.map(row => row.length)
  if (weights.length !== scores.length)
    throw new Error(
      `scalarize: got ${weights.length} weights for ${scores.length} components. Give one weight a component.`,
    )
  if (new Set(sizes).size > 1)
    throw new Error(
      `scalarize: components have ${sizes.join(', ')} scores, needed as many in each. Use null where one does not apply.`,
    )
  if (weights.some(weight => !Number.isFinite(weight) || (scalarization === 'chebyshev' && weight < 0)))
    throw new Error(
      `scalarize: weights are ${weights.join(', ')}, needed finite numbers` +
        (scalarization === 'chebyshev'
          ? ' of at least 0: chebyshev has no meaning below. Negate the reward instead.'
          : '.'),
    )
  if (normalization === 'group' && !(num_generations > 1 && Number.isInteger((sizes[0] ?? 0) / num_generations)))
    throw new Error(
      `scalarize: num_generations is ${options.num_generations}, needed a divisor above 1 of the ${sizes[0] ?? 0} samples. ` +
        'Pass the number of samples a prompt.',
    )
  if (statistics !== undefined && statistics.mean.length !== scores.length)
    throw new Error(
      `scalarize: statistics of ${statistics.mean.length} components for ${scores.length}. Start without them.`,
    )
}
