import { readRows } from '../datasets/index.js'
import { checkRewards, completionText, weighted, type RewardBatch } from '../rewards/index.js'
import { parse, type Command } from './command.js'
import { readRewards } from './experiment.js'
import type { DataRow } from './namedDatasets.js'
import { makeRewards, resolveRewards } from './namedRewards.js'
import { textTable } from './textTable.js'

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
      ? readRewards(given)
      : resolveRewards('--rewards', Object.fromEntries(given.split(',').map(name => [name, name])))
    const made = await makeRewards(isFile ? `${given}: rewards` : '--rewards', configs)
    if (Object.keys(made).length === 0) throw new Error(`${given}: holds no rewards, needed at least one.`)
    const rows = await readRows(positionals[0]!)
    const { summaries, scores } = await checkRewards(weighted(made), rows)
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
