import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { from, table, type ColumnTable } from 'arquero'
import type { Row } from '../datasets/jsonl.js'
import { parseJson } from '../io/json.js'
import { readYaml } from '../io/yaml.js'
import { comparisonTable } from '../plots/comparisonTable.js'
import { writerOf } from './lock.js'
import { tableOf } from './openRun.js'

/** trials.yaml in a sweep's folder. */
export interface SweepFile {
  /** Training configs, one a method. */
  config: readonly string[]
  /** Columns to compare; none: those of the evaluation, or without one the reward or the loss. */
  metrics: readonly string[]
  /** The setting that is averaged over; null: there is none. */
  seed: string | null
  trials: readonly Trial[]
}

/** A run of a sweep: the folder `name/`, trained by `name.yaml`. */
export interface Trial {
  name: string
  /** What tells it from others, by the ends of the fields' names. */
  settings: Readonly<Record<string, unknown>>
}

export interface StoredTrial extends Trial {
  dir: string
  /** `running`: a process trains it; `waiting`: none does, and it has not come to its end. */
  state: 'done' | 'failed' | 'running' | 'waiting'
  /** Why it failed. */
  error: string | null
  /** Final metrics, of the evaluation as `eval_…`; empty until it is done. */
  metrics: Row
}

/** A sweep read back from its folder, finished or still going. */
export interface StoredSweep {
  dir: string
  trials: StoredTrial[]
  /** A row a trial: name, state, settings, final metrics. */
  table: ColumnTable
  /** A row a setting: mean and Student t interval over its seeds, as `metric`, `metric_low` and `metric_high`, and `n`, the trials that are done;
   * without rows until one is. */
  comparison: ColumnTable
}

/** Opens a sweep's folder for reading.
 * @throws if it holds no sweep */
export function openSweep(dir: string): StoredSweep {
  const path = join(dir, 'trials.yaml')
  if (!existsSync(path))
    throw new Error(`openSweep: ${dir} has no trials.yaml, needed the folder of a sweep. Name its output_dir.`)
  const { metrics, seed, trials: listed } = readYaml(path) as unknown as SweepFile
  const trials = listed.map(trial => storedTrial(dir, trial))
  const rows = trials.map(({ name, state, settings, metrics }) => ({ name, state, ...settings, ...metrics }))
  return { dir, trials, table: tableOf(rows), comparison: compared(trials, metrics, seed) }
}

function storedTrial(folder: string, { name, settings }: Trial): StoredTrial {
  const dir = join(folder, name)
  const result = join(dir, 'result.json')
  const entry = { name, settings, dir, error: null, metrics: {} }
  if (existsSync(result)) {
    const { metrics } = parseJson(readFileSync(result)) as { metrics: Row }
    return { ...entry, state: 'done', metrics }
  }
  if (writerOf(dir) !== null) return { ...entry, state: 'running' }
  const log = join(folder, `${name}.log`)
  const last = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').at(-1)! : ''
  const error = FAILURE.exec(last)?.[1] ?? null
  return { ...entry, state: error === null ? 'waiting' : 'failed', error }
}

/** The last line of a log of a training that ended by an error; one that was stopped goes on. */
const FAILURE = /^rewardlab train: (?!stopped after step)(.*)/

function compared(trials: readonly StoredTrial[], metrics: readonly string[], seed: string | null): ColumnTable {
  const done = trials.filter(({ state }) => state === 'done')
  if (done.length === 0) return table({})
  const settings = new Map<string, Readonly<Record<string, unknown>>>()
  const rows = done.map(({ settings: all, metrics }) => {
    const others = Object.fromEntries(Object.entries(all).filter(([field]) => field !== seed))
    const setting = JSON.stringify(others)
    settings.set(setting, others)
    return { ...metrics, setting }
  })
  const columns = [...new Set(done.flatMap(({ metrics }) => Object.keys(metrics)))]
  const held = columns.filter(column => column.startsWith('eval_'))
  const chosen = [metrics, held, ['reward'], ['loss']].find(
    some => some.length > 0 && some.every(metric => columns.includes(metric)),
  )
  const means = comparisonTable(rows, { by: 'setting', metrics: chosen })
  return from(
    (means.objects() as { setting: string }[]).map(({ setting, ...cells }) => ({ ...settings.get(setting), ...cells })),
  )
}
