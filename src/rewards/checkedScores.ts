import { impatiently } from '../interrupt.js'
import type { Reward, RewardBatch, Score } from './reward.js'

/** Calls a reward and checks what it gives back.
 * @throws naming the reward, and the row where there is one: it threw, returned no list, the wrong number of scores, or
 *   something that is neither a finite number nor null */
export async function checkedScores(name: string, reward: Reward, batch: RewardBatch): Promise<Score[]> {
  const rows = batch.completions.length
  let scores: unknown
  try {
    scores = await impatiently(() => reward(batch))
  } catch (error) {
    throw new Error(
      `reward "${name}" failed on a batch of ${rows}: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    )
  }
  if (!Array.isArray(scores))
    throw new Error(
      `reward "${name}": returned ${describe(scores)}, needed a list of ${rows} scores. Return one score a completion.`,
    )
  if (scores.length !== rows)
    throw new Error(
      `reward "${name}": returned ${scores.length} scores for ${rows} completions. Return one score a completion.`,
    )
  const row = Array.from(scores).findIndex(score => score !== null && !Number.isFinite(score))
  if (row !== -1)
    throw new Error(
      `reward "${name}", row ${row}: the score is ${describe(scores[row])}, needed a finite number, or null where it does not apply.`,
    )
  return scores as Score[]
}

function describe(value: unknown): string {
  return typeof value === 'string'
    ? JSON.stringify(value)
    : typeof value === 'object' && value !== null
      ? 'an object'
      : String(value)
}
