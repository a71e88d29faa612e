import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { checkpointsIn, flush, seal, type StoredCheckpoint } from './checkpoints.js'
import { lock } from './lock.js'
import { openRowLog } from './rowLog.js'
import { openTensorBoardLog } from './tensorboard.js'

export interface CreateRunOptions {
  /** Where runs lie. Default `runs`. */
  dir?: string
  /** What to do about a run of this name: refuse (default), delete it and start anew, or add to it. */
  existing?: 'error' | 'replace' | 'append'
  /** The checkpoint that an appended run goes on from: rows that were logged after it are dropped. */
  from?: StoredCheckpoint | null
  /** Where metrics go beside metrics.jsonl: into TensorBoard's event files, in the run's folder. Default `none`. */
  report_to?: ReportTo
}

export type ReportTo = 'none' | 'tensorboard'

/** The writing side of a run's folder. */
export interface RunWriter {
  readonly name: string
  readonly dir: string
  /** Adds a row to metrics.jsonl, and where `report_to` says. */
  log(row: object): void
  /** Adds rows to samples.jsonl. */
  logSamples(rows: readonly object[]): void
  /** Fills `checkpoint-STEP/`, which appears only once `write` has finished and all is on the disk, with checksums.
   * @param limit of checkpoints to keep: older ones are deleted then
   * @returns its path */
  checkpoint(step: number, write: (dir: string) => void | Promise<void>, limit?: number | null): Promise<string>
  /** Ends writing and lets others write. */
  close(): void
}

/** Starts the folder of a run, `runs/NAME/`: config.yaml, metrics.jsonl, samples.jsonl, checkpoint-N/. One process writes it at a time.
 * @param config every setting with its value, defaults included; what YAML can hold
 * @throws if the name is no folder name, the run exists, another process writes it, or `config` holds a function */
export function createRun(
  name: string,
  config: Readonly<Record<string, unknown>>,
  { dir = 'runs', existing = 'error', from, report_to = 'none' }: CreateRunOptions = {},
): RunWriter {
  if (!/^[\p{L}\p{N}][\p{L}\p{N}._-]*$/u.test(name))
    throw new Error(
      `createRun: the name is ${JSON.stringify(name)}, needed letters, digits, dots and dashes. Use for example grpo-1.`,
    )
  const text = yamlOf(config)
  const folder = join(dir, name)
  if (existing === 'error' && existsSync(folder))
    throw new Error(`createRun: ${folder} exists. Choose another name, or pass existing: 'replace' or 'append'.`)
  if (existing === 'replace') refuseForeign(folder)
  mkdirSync(folder, { recursive: true })
  const unlock = lock(folder)
  if (existing === 'replace')
    for (const entry of readdirSync(folder)) if (entry !== 'lock') rmSync(join(folder, entry), { recursive: true })
  writeFileSync(join(folder, 'config.yaml.tmp'), text)
  renameSync(join(folder, 'config.yaml.tmp'), join(folder, 'config.yaml'))
  const metrics = openRowLog(join(folder, 'metrics.jsonl'), from?.logs.metrics)
  const samples = openRowLog(join(folder, 'samples.jsonl'), from?.logs.samples)
  const events = report_to === 'tensorboard' ? openTensorBoardLog(folder, from ? from.step + 1 : undefined) : undefined
  let open = true
  const check = (): void => {
    if (!open) throw new Error(`${folder}: the run is closed. Create it again with existing: 'append'.`)
  }

  return {
    name,
    dir: folder,
    log(row) {
      check()
      metrics.append([row])
      events?.append(row)
    },
    logSamples(rows) {
      check()
      samples.append(rows)
    },
    async checkpoint(step, write, limit = null) {
      check()
      const target = join(folder, `checkpoint-${step}`)
      const draft = `${target}.tmp`
      rmSync(draft, { recursive: true, force: true })
      mkdirSync(draft)
      await write(draft)
      await seal(draft, step, { metrics: metrics.flush(), samples: samples.flush() })
      rmSync(target, { recursive: true, force: true })
      renameSync(draft, target)
      flush(folder)
      const older = checkpointsIn(folder).filter(checkpoint => checkpoint.step < step)
      for (const { dir } of limit === null ? [] : older.slice(0, Math.max(0, older.length + 1 - limit)))
        rmSync(dir, { recursive: true })
      return target
    },
    close() {
      if (!open) return
      open = false
      metrics.close()
      samples.close()
      events?.close()
      unlock()
    },
  }
}

function yamlOf(config: Readonly<Record<string, unknown>>): string {
  try {
    return stringify(config)
  } catch (error) {
    throw new Error(
      `createRun: the config holds what YAML cannot (${(error as Error).message}). Pass names and numbers, not functions.`,
      { cause: error },
    )
  }
}

/** Deleting is for runs alone: a folder with files but no config.yaml is somebody's own. */
function refuseForeign(folder: string): void {
  if (!existsSync(folder) || existsSync(join(folder, 'config.yaml')) || readdirSync(folder).length === 0) return
  throw new Error(`createRun: ${folder} has no config.yaml, so it is no run and is not replaced. Choose another name.`)
}
