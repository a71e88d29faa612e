import type { RewardBatch, Score } from './reward.js'
import type { WeightedRewards } from './weighted.js'

/** What a reward says of stored samples. */
export interface RewardSummary {
  reward: string
  mean: number | null
  /** With Bessel's correction. */
  std: number | null
  min: number | null
  max: number | null
  /** The first rows of the least and the greatest score, from 1. */
  min_row: number | null
  max_row: number | null
  /** Share of the samples that it does not apply to. */
  nulls: number
}

/** A dry run of rewards on stored samples, before a training depends on them.
 * @param rows with `prompt`, `completion`, and the columns that the rewards read
 * @returns a summary of each reward, and each row's scores by reward
 * @throws naming the reward, and the row where there is one, that throws, takes too long, or whose score is no number */
export async function checkRewards(
  rewards: WeightedRewards,
  rows: readonly object[],
): Promise<{ summaries: RewardSummary[]; scores: Record<string, Score[]> }> {
  const scores = await rewards.score(batchOf(rows as readonly Record<string, unknown>[]))
  const summaries = rewards.names.map((name, k) => summaryOf(name, scores[k]!))
  return { summaries, scores: Object.fromEntries(rewards.names.map((name, k) => [name, scores[k]!])) }
}

function summaryOf(reward: string, scores: readonly Score[]): RewardSummary {
  const present = scores.filter(score => score !== null)
  const count = present.length
  const mean = present.reduce((sum, x) => sum + x, 0) / count
  const squares = present.reduce((sum, x) => sum + (x - mean) ** 2, 0)
  const [min, max] = count === 0 ? [null, null] : [Math.min(...present), Math.max(...present)]
  const rowOf = (score: Score) => (score === null ? null : scores.indexOf(score) + 1)
  return {
    reward,
    mean: count === 0 ? null : mean,
    std: count < 2 ? null : Math.sqrt(squares / (count - 1)),
    min,
    max,
    min_row: rowOf(min),
    max_row: rowOf(max),
    nulls: (scores.length - count) / scores.length,
  }
}

function batchOf(rows: readonly Record<string, unknown>[]): RewardBatch {
  const lacking = rows.findIndex(row => !('completion' in row))
  if (rows.length === 0 || lacking !== -1)
    throw new Error(`checkRewards: ${rows.length === 0 ? 'found no rows' : `row ${lacking + 1} has no completion`}, needed rows with prompt and completion.`) // prettier-ignore
  const { prompt, completion, ...others } = Object.fromEntries(
    [...new Set(['prompt', ...rows.flatMap(row => Object.keys(row))])].map(column => [
      column,
      rows.map(row => row[column] ?? null),
    ]),
  )
  return { ...others, prompts: prompt!, completions: completion as unknown as RewardBatch['completions'] }
}
