import type { Row } from './run.js'

/** What can seem wrong with a run. */
export const WARNINGS = ['non_finite', 'flat_rewards', 'clipped', 'kl', 'reward_collapse', 'chosen_less_likely', 'entropy_collapse', 'length_collapse', 'disk'] as const // prettier-ignore

export interface Warning {
  kind: (typeof WARNINGS)[number]
  /** In words, with the likely cause. */
  text: string
}

/** Rows looked back on. */
export const RECENT = 5
/** Rows in which the best reward is looked for. */
const REMEMBERED = 1000
/** Share of groups without a difference from which rewards count as flat. */
const FLAT = 0.8
/** Part of its start below which entropy or length has collapsed. */
const COLLAPSED = 0.1
/** Nats a token of divergence from the reference. */
const RUN_AWAY = 1
/** Part of its start by which the log-probability of chosen outputs may fall: batches of other lengths move it, too. */
const LESS_LIKELY = 0.5
/** Share of completions cut at the length bound. */
const CUT = 0.9

/** What a reader should know about a run, in words: flat rewards, collapse of reward, entropy or length, KL run-away, chosen outputs that become less
 * likely, completions cut, a loss or gradient that is no number. Each looks at the mean of the last five rows, the collapse of the reward at the last thousand; rules of thumb, not tests. (`disk` is not told by rows, but where they are written.) */
export function warnings(rows: readonly Row[]): Warning[] {
  const recent = (metric: string) => mean(rows.slice(-RECENT), metric)
  const start = (metric: string) => (rows.length < 2 * RECENT ? null : mean(rows.slice(0, RECENT), metric))
  const found: Warning[] = []
  const warn = (kind: Warning['kind'], text: string) => void found.push({ kind, text })

  const last = rows.at(-1)
  if (last !== undefined && last['loss'] === null)
    warn(
      'non_finite',
      `The loss of step ${last.step} is not a number: the step was skipped. If more follow, the weights have grown too far ` +
        '(lower learning_rate, or warm up longer), or the model cannot compute what a row holds (debugNans finds the operation).',
    )
  else if (last !== undefined && last['grad_norm'] === null)
    warn(
      'non_finite',
      `The gradient of step ${last.step} is not a number, though its loss is one: the step was skipped. An operation has no finite slope there ` +
        '(a root or logarithm of 0), or numbers overflowed: lower learning_rate, or find the operation with debugNans.',
    )

  if (rows.length >= RECENT) {
    const flat = recent('frac_reward_zero_std')
    if (flat !== null && flat >= FLAT)
      warn(
        'flat_rewards',
        `Flat rewards: in ${percent(flat)} of the groups all completions score alike, so they teach nothing. ` +
          'Use prompts of another difficulty, a higher temperature, or a reward that tells completions apart.',
      )
    const kept = recent('pairs_kept')
    if (kept !== null && kept <= 1 - FLAT)
      warn(
        'flat_rewards',
        `Flat rewards: ${percent(1 - kept)} of the pairs tie and are dropped. ` +
          'Use prompts of another difficulty, a higher temperature, or a reward that tells completions apart.',
      )
    const cut = recent('completions/clipped_ratio')
    if (cut !== null && cut >= CUT)
      warn('clipped', `${percent(cut)} of the completions are cut at the length bound. Raise max_completion_length.`)
    const kl = recent('kl')
    if (kl !== null && kl >= RUN_AWAY)
      warn(
        'kl',
        `KL run-away: the policy is ${kl.toPrecision(2)} nats a token away from its reference. Raise beta or lower learning_rate.`,
      )
  }

  const remembered = rows.slice(RECENT * Math.ceil(Math.max(0, rows.length - REMEMBERED) / RECENT))
  const [best, now, spread] = [bestReward(remembered), recent('reward'), mean(remembered, 'reward_std')]
  if (best !== null && now !== null && spread !== null && best - now > spread)
    warn(
      'reward_collapse',
      `Collapse: the reward fell from ${best.toPrecision(2)} to ${now.toPrecision(2)}, by more than completions differ. ` +
        'Lower learning_rate or raise beta, and go on from a checkpoint before.',
    )
  const [chosen, chosenBefore] = [recent('logps/chosen'), start('logps/chosen')]
  if (chosen !== null && chosenBefore !== null && chosen < chosenBefore - LESS_LIKELY * Math.abs(chosenBefore))
    warn(
      'chosen_less_likely',
      `Chosen outputs become less likely: their log-probability fell from ${chosenBefore.toPrecision(2)} to ${chosen.toPrecision(2)}, if the margin grows, that of rejected ones fell faster. ` +
        "Add a likelihood term (loss_type: ['sigmoid', 'sft']), raise beta, or lower learning_rate.",
    )

  for (const [kind, metric, what, advice] of [
    [
      'entropy_collapse',
      'entropy',
      'the entropy',
      'Completions hardly differ any more: raise temperature, or lower learning_rate',
    ],
    [
      'length_collapse',
      'completions/mean_length',
      'the mean length of completions',
      'Look at the samples: a reward may favour saying nothing',
    ],
  ] as const) {
    const [now, then] = [recent(metric), start(metric)]
    if (now !== null && then !== null && now < COLLAPSED * then)
      warn(kind, `Collapse: ${what} fell from ${then.toPrecision(2)} to ${now.toPrecision(2)}. ${advice}.`)
  }
  return found
}

/** The highest mean reward of five rows, from the first on and before the last five; null where there are fewer. */
function bestReward(rows: readonly Row[]): number | null {
  const earlier = rows.slice(0, -RECENT)
  let best: number | null = null
  for (let end = RECENT; end <= earlier.length; end += RECENT) {
    const reward = mean(earlier.slice(end - RECENT, end), 'reward')
    if (reward !== null && (best === null || reward > best)) best = reward
  }
  return best
}

/** Of a metric over the rows that have it; null where none has. */
function mean(rows: readonly Row[], metric: string): number | null {
  const values = rows.map(row => row[metric]).filter(value => typeof value === 'number')
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
}

const percent = (share: number): string => `${Math.round(100 * share)} %`
