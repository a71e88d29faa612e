import assert from 'node:assert/strict'
import type { Completion, Reward, RewardBatch, Score } from '../../src/rewards/index.js'

/** A batch of completions with further columns, for tests. */
export function batchOf(completions: Completion[], columns: Record<string, unknown[]> = {}): RewardBatch {
  return { prompts: completions.map(() => 'a prompt'), completions, ...columns }
}

/** A reward's score of a single completion. */
export async function scoreOf(
  reward: Reward,
  completion: Completion,
  row: Record<string, unknown> = {},
): Promise<Score> {
  const columns = Object.fromEntries(Object.entries(row).map(([name, value]) => [name, [value]]))
  return (await reward(batchOf([completion], columns)))[0]!
}

/** Asserts that two lists of scores are equal, numbers within the tolerance. */
export function close(got: readonly Score[], expected: readonly Score[], tolerance = 1e-12): void {
  assert.equal(got.length, expected.length)
  got.forEach((value, i) => {
    const want = expected[i]!
    if (value === null || want === null) assert.equal(value, want)
    else assert.ok(Math.abs(value - want) <= tolerance, `[${i}] ${value}, not ${want}`)
  })
}
