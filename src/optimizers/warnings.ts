import type { Row } from './run.js'

/** Rows looked back on. */
const RECENT = 5
/** Share of groups without a difference from which rewards count as flat. */
const FLAT = 0.8
/** Part of its start below which entropy or length has collapsed. */
const COLLAPSED = 0.1
/** Nats a token of divergence from the reference. */
const RUN_AWAY = 1
/** Share of completions cut at the length bound. */
const CUT = 0.9

/** What a reader should know about a run, in words: flat rewards, collapse, KL run-away, completions cut, a loss that is no number.
 * Each looks at the mean of the last five rows; rules of thumb, not tests. */
export function warnings(rows: readonly Row[]): string[] {
  const recent = (metric: string) => mean(rows.slice(-RECENT), metric)
  const start = (metric: string) => (rows.length < 2 * RECENT ? null : mean(rows.slice(0, RECENT), metric))
  const found: string[] = []

  const last = rows.at(-1)
  if (last !== undefined && last['loss'] === null)
    found.push(`The loss of step ${last.step} is not a number. Lower learning_rate or max_grad_norm, and start anew.`)

  if (rows.length >= RECENT) {
    const flat = recent('frac_reward_zero_std')
    if (flat !== null && flat >= FLAT)
      found.push(
        `Flat rewards: in ${percent(flat)} of the groups all completions score alike, so they teach nothing. ` +
          'Use prompts of another difficulty, a higher temperature, or a reward that tells completions apart.',
      )
    const kept = recent('pairs_kept')
    if (kept !== null && kept <= 1 - FLAT)
      found.push(
        `Flat rewards: ${percent(1 - kept)} of the pairs tie and are dropped. ` +
          'Use prompts of another difficulty, a higher temperature, or a reward that tells completions apart.',
      )
    const cut = recent('completions/clipped_ratio')
    if (cut !== null && cut >= CUT)
      found.push(`${percent(cut)} of the completions are cut at the length bound. Raise max_completion_length.`)
    const kl = recent('kl')
    if (kl !== null && kl >= RUN_AWAY)
      found.push(
        `KL run-away: the policy is ${kl.toPrecision(2)} nats a token away from its reference. Raise beta or lower learning_rate.`,
      )
  }

  for (const [metric, what, advice] of [
    ['entropy', 'the entropy', 'Completions hardly differ any more: raise temperature, or lower learning_rate'],
    [
      'completions/mean_length',
      'the mean length of completions',
      'Look at the samples: a reward may favour saying nothing',
    ],
  ] as const) {
    const [now, then] = [recent(metric), start(metric)]
    if (now !== null && then !== null && now < COLLAPSED * then)
      found.push(`Collapse: ${what} fell from ${then.toPrecision(2)} to ${now.toPrecision(2)}. ${advice}.`)
  }
  return found
}

/** Of a metric over the rows that have it; null where none has. */
function mean(rows: readonly Row[], metric: string): number | null {
  const values = rows.map(row => row[metric]).filter(value => typeof value === 'number')
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
}

const percent = (share: number): string => `${Math.round(100 * share)} %`
