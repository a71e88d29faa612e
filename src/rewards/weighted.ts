import { checkedScores, REWARD_TIMEOUT } from './checkedScores.js'
import type { Reward, RewardBatch, Score } from './reward.js'

export type Weights = Readonly<Record<string, number>>

/** A batch and its scores. */
export interface Scored {
  readonly batch: RewardBatch
  /** [K][N], unweighted. */
  readonly scores: readonly (readonly Score[])[]
}

/** Rewards by name, each with a weight that can change while a run is going. */
export interface WeightedRewards {
  /** The components' names, in the order of `score` and of `weights`. */
  readonly names: readonly string[]
  /** The current weights; a snapshot that later changes leave as it is. */
  readonly weights: Weights
  /** Every component of every sample [K][N], unweighted; null where a reward does not apply. */
  score(batch: RewardBatch): Promise<Score[][]>
  /** What was scored last; undefined at first. */
  readonly last: Scored | undefined
  /** Changes the given weights from now on.
   * @throws naming an unknown component, or a weight that is not a finite number */
  setWeights(changes: Weights): void
  /** Calls `listener` at every change.
   * @returns a function that ends it */
  onChange(listener: (weights: Weights, previous: Weights) => void): () => void
  /** Calls `listener` after each batch scored.
   * @returns a function that ends it */
  onScore(listener: (scored: Scored) => void): () => void
}

/** A reward, its weight, and the seconds that it may take for a batch: by default 600; null: any time. */
export type WeightedReward = readonly [reward: Reward, weight: number, options?: { readonly timeout?: number | null }]

/** Puts rewards side by side: `weighted({ format: [answerFormat(), 0.3], judge: [askJudge, 0.7, { timeout: 60 }] })`.
 *
 * Scores are kept by component; optimizers combine them with the weights of the moment.
 * @throws if there is no reward, a weight is not a finite number, or a timeout not above 0 */
export function weighted(rewards: Readonly<Record<string, WeightedReward>>): WeightedRewards {
  const names = Object.keys(rewards)
  if (names.length === 0)
    throw new Error('weighted: got no reward, needed at least one. Use for example { correct: [exactAnswer(), 1] }.')
  const timeouts = names.map(name => checkedTimeout(name, rewards[name]![2]?.timeout))
  const listeners = new Set<(weights: Weights, previous: Weights) => void>()
  const scoreListeners = new Set<(scored: Scored) => void>()
  let last: Scored | undefined
  let weights = changed({}, Object.fromEntries(names.map(name => [name, rewards[name]![1]])), names)

  return {
    names,
    get weights() {
      return weights
    },
    get last() {
      return last
    },
    async score(batch) {
      const scores = await Promise.all(
        names.map((name, k) => checkedScores(name, rewards[name]![0], batch, timeouts[k])),
      )
      last = { batch, scores }
      for (const listener of scoreListeners) listener(last)
      return scores
    },
    setWeights(changes) {
      const previous = weights
      const next = changed(previous, changes, names)
      if (names.every(name => next[name] === previous[name])) return
      weights = next
      for (const listener of listeners) listener(next, previous)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    onScore(listener) {
      scoreListeners.add(listener)
      return () => void scoreListeners.delete(listener)
    },
  }
}

function checkedTimeout(name: string, timeout: number | null = REWARD_TIMEOUT): number | null {
  if (timeout === null || (timeout > 0 && timeout <= LONGEST)) return timeout
  throw new Error(
    `weighted: the timeout of "${name}" is ${timeout}, needed seconds above 0, up to ${LONGEST}; null: none.`,
  )
}

const LONGEST = 2e6 // a timer's bound is 2³¹ ms

function changed(weights: Weights, changes: Weights, names: readonly string[]): Weights {
  for (const [name, weight] of Object.entries(changes)) {
    if (!names.includes(name)) throw new Error(`weighted: no reward is named "${name}". Use ${names.join(', ')}.`)
    if (!Number.isFinite(weight))
      throw new Error(`weighted: the weight of "${name}" is ${weight}, needed a finite number. Use for example 1.`)
  }
  return Object.freeze({ ...weights, ...changes })
}
