import { impatiently, interruptSignal } from '../interrupt.js'
import type { Reward, RewardBatch, Score } from './reward.js'

/** Seconds that a reward may take for a batch, where nothing else is said: long enough to load a model that judges. */
export const REWARD_TIMEOUT = 600

/** Calls a reward and checks what it gives back.
 * @param timeout seconds until a reward that awaits something is given up; null: never. Code that never awaits holds the thread, and
 *   no timer runs: in a notebook the stop button ends it, elsewhere whoever kills the process.
 * @throws naming the reward, and the row where there is one: it threw, took too long, returned no list, the wrong number of scores, or
 *   something that is neither a finite number nor null */
export async function checkedScores(
  name: string,
  reward: Reward,
  batch: RewardBatch,
  timeout: number | null = REWARD_TIMEOUT,
): Promise<Score[]> {
  const rows = batch.completions.length
  let scores: unknown
  try {
    scores = await impatiently(() => bounded(signal => reward(batch, signal), timeout))
  } catch (error) {
    interruptSignal()?.throwIfAborted()
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

/** Ends with the work, the timeout or the interrupt of a notebook's cell, whichever comes first; the work is told by its signal. */
async function bounded<T>(work: (signal: AbortSignal) => T | Promise<T>, timeout: number | null): Promise<T> {
  const late = new AbortController()
  const interrupt = interruptSignal()
  const signal = interrupt ? AbortSignal.any([late.signal, interrupt]) : late.signal
  const ended = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  )
  const tooLate = () =>
    late.abort(new Error(`no scores after ${timeout} s. See whether what it waits for answers, or raise its timeout (seconds; null: none).`)) // prettier-ignore
  const timer = timeout === null ? undefined : setTimeout(tooLate, 1000 * timeout)
  try {
    return await Promise.race([work(signal), ended])
  } finally {
    clearTimeout(timer)
  }
}

function describe(value: unknown): string {
  return typeof value === 'string'
    ? JSON.stringify(value)
    : typeof value === 'object' && value !== null
      ? 'an object'
      : String(value)
}
