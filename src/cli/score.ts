import { readRows } from '../datasets/index.js'
import { nanMean, nanStd } from '../optimizers/groupAdvantages.js'
import { checkedScores, completionText, type Reward, type RewardBatch, type Score } from '../rewards/index.js'
import { parse, type Command } from './command.js'
import { readRewards } from './experiment.js'
import type { DataRow } from './namedDatasets.js'
import { makeRewards, resolveRewards } from './namedRewards.js'
import { textTable } from './textTable.js'

/** What a reward says of stored samples. */
export interface ScoreSummary {
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

/** Scores stored samples with each reward by itself.
 * @param rows with `prompt`, `completion`, and the columns that the rewards read
 * @throws Error naming reward and row that it throws at, or whose score is no number */
export async function score(
  rows: readonly DataRow[],
  rewards: Readonly<Record<string, Reward>>,
): Promise<{ summaries: ScoreSummary[]; scores: Record<string, Score[]> }> {
  const batch = batchOf(rows)
  const scores: Record<string, Score[]> = {}
  for (const [name, reward] of Object.entries(rewards)) scores[name] = await checkedScores(name, reward, batch)
  const summaries = Object.entries(scores).map(([reward, values]): ScoreSummary => {
    const present = values.filter(value => value !== null)
    const [min, max] = present.length === 0 ? [null, null] : [Math.min(...present), Math.max(...present)]
    const rowOf = (value: number | null) => (value === null ? null : values.indexOf(value) + 1)
    return {
      reward,
      mean: present.length === 0 ? null : nanMean(present),
      std: present.length < 2 ? null : nanStd(present),
      min,
      max,
      min_row: rowOf(min),
      max_row: rowOf(max),
      nulls: (values.length - present.length) / values.length,
    }
  })
  return { summaries, scores }
}

function batchOf(rows: readonly DataRow[]): RewardBatch {
  const lacking = rows.findIndex(row => !('completion' in row))
  if (rows.length === 0 || lacking !== -1)
    throw new Error(`score: ${rows.length === 0 ? 'found no rows' : `row ${lacking + 1} has no completion`}, needed rows with prompt and completion.`) // prettier-ignore
  const { prompt, completion, ...others } = Object.fromEntries(
    [...new Set(['prompt', ...rows.flatMap(row => Object.keys(row))])].map(column => [
      column,
      rows.map(row => row[column] ?? null),
    ]),
  )
  return { ...others, prompts: prompt!, completions: completion as unknown as RewardBatch['completions'] }
}

export const scoreCommand: Command = {
  summary: 'what rewards say of stored samples: a dry run',
  help: `Usage: rewardlab score FILE.jsonl --rewards CONFIG.yaml|NAME,NAME…

Scores each line of FILE.jsonl, {"prompt", "completion", and the columns that the rewards read}: mean, deviation, extremes and the rows
where they are, share of samples that a reward does not apply to. A reward that fails names itself and the row.
  --rewards R          a training config, whose field rewards counts, or names such as exactAnswer,answerFormat
  --json               print the summaries, and the score of each row`,
  async run(args, print) {
    const { values, positionals } = parse(args, ['FILE.jsonl'], { rewards: { type: 'string' } })
    const given = values.rewards
    if (given === undefined) throw new Error('--rewards CONFIG.yaml|NAME,… is missing. See --help.')
    const isFile = /\.ya?ml$/.test(given)
    const configs = isFile
      ? await readRewards(given)
      : resolveRewards('--rewards', Object.fromEntries(given.split(',').map(name => [name, name])))
    const made = await makeRewards(isFile ? `${given}: rewards` : '--rewards', configs)
    if (Object.keys(made).length === 0) throw new Error(`${given}: holds no rewards, needed at least one.`)
    const rows = await readRows(positionals[0]!)
    const { summaries, scores } = await score(rows, Object.fromEntries(Object.entries(made).map(([name, [reward]]) => [name, reward]))) // prettier-ignore
    const shown = (row: number | null) => (row === null ? '' : ` (row ${row}: ${start(rows[row - 1]!)})`)
    const extremes = summaries.flatMap(s =>
      s.min === s.max ? [] : [`${s.reward}: least ${s.min}${shown(s.min_row)}, greatest ${s.max}${shown(s.max_row)}`],
    )
    print([textTable(summaries), ...extremes].join('\n'), { rows: rows.length, summaries, scores })
  },
}

/** How a completion begins, in one line. */
function start(row: DataRow): string {
  const text = JSON.stringify(completionText(row['completion'] as RewardBatch['completions'][number]))
  return text.length > 60 ? `${text.slice(0, 59)}…` : text
}
