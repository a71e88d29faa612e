import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

export interface RunEntry {
  name: string
  dir: string
  /** When a metric was last written. */
  updated: Date
}

/** The runs in a folder, the latest first; none if there is no such folder. */
export function listRuns(dir = 'runs'): RunEntry[] {
  if (!existsSync(dir)) return []
  return readdirSync(dir)
    .map(name => ({ name, dir: join(dir, name) }))
    .filter(run => existsSync(join(run.dir, 'config.yaml')))
    .map(run => ({ ...run, updated: updatedAt(run.dir) }))
    .sort((a, b) => b.updated.getTime() - a.updated.getTime())
}

function updatedAt(dir: string): Date {
  const metrics = join(dir, 'metrics.jsonl')
  return statSync(existsSync(metrics) ? metrics : dir).mtime
}
