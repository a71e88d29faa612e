import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { table, type ColumnTable } from 'arquero'
import type { Row } from '../datasets/jsonl.js'
import { readYaml } from '../io/yaml.js'
import { checkpointsIn } from './checkpoints.js'
import { readRowLog, withNonFinite } from './rowLog.js'

/** A run read back from its folder, finished or still going. */
export interface StoredRun {
  name: string
  dir: string
  /** config.yaml. */
  config: Record<string, unknown>
  /** The rows of metrics.jsonl, as charts take them. */
  rows: Row[]
  /** The same as a table; a cell is undefined where its row lacks the column. */
  metrics: ColumnTable
  samples: ColumnTable
  /** What seemed wrong while it ran, in words, with step and time. */
  warnings: Row[]
  /** Finished checkpoints by step. */
  checkpoints: { step: number; dir: string }[]
  /** What was passed over while reading, in words. */
  notes: string[]
}

/** Opens a run's folder for reading; a line torn by a crash is left out, with a note.
 * @throws if the folder is no run, or a file in it is damaged otherwise */
export function openRun(dir: string): StoredRun {
  const configPath = join(dir, 'config.yaml')
  if (!existsSync(configPath))
    throw new Error(`openRun: ${dir} has no config.yaml, needed the folder of a run. Name one such as runs/grpo-1.`)
  const notes: string[] = []
  const read = (file: string): Row[] => {
    const path = join(dir, file)
    if (!existsSync(path)) return []
    const { rows, note } = readRowLog(path)
    if (note !== undefined) notes.push(note)
    return rows
  }
  const rows = read('metrics.jsonl').map(withNonFinite)
  return {
    name: basename(resolve(dir)),
    dir,
    config: readYaml(configPath),
    rows,
    metrics: tableOf(rows),
    samples: tableOf(read('samples.jsonl')),
    warnings: read('warnings.jsonl'),
    checkpoints: checkpointsIn(dir),
    notes,
  }
}

/** Rows as a table whose columns are all that occur, in order of appearance. */
export function tableOf(rows: readonly Row[]): ColumnTable {
  const names = [...new Set(rows.flatMap(row => Object.keys(row)))].filter(name => name !== '__proto__') // arquero's code takes it for what objects inherit
  return table(names.map(name => [name, rows.map(row => row[name])]))
}
