import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { stringify } from 'yaml'
import { checkpointsIn, flush, ranked, seal, type Measured, type StoredCheckpoint } from './checkpoints.js'
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
  /** Adds a row to warnings.jsonl. What was told stays told, whatever checkpoint the run goes back to. */
  logWarning(row: object): void
  /** Fills `checkpoint-STEP/`, which appears only once `write` has finished and all is on the disk, with checksums.
   * Rows that were logged before the call belong to it. checkpoints.json names the latest and the best.
   * @param limit of checkpoints to keep: older ones are deleted then, but never the best
   * @param measured what the weights were measured by
   * @returns its path
   * @throws if it cannot be written; the checkpoints before stay as they are */
  checkpoint(
    step: number,
    write: (dir: string) => void | Promise<void>,
    limit?: number | null,
    measured?: Measured,
  ): Promise<string>
  /** Goes back to a checkpoint of this run: drops what was logged after it, and later checkpoints. */
  rewind(from: StoredCheckpoint): void
  /** Ends writing and lets others write. */
  close(): void
}

/** Starts the folder of a run, `runs/NAME/`: config.yaml, metrics.jsonl, samples.jsonl, warnings.jsonl, checkpoint-N/. One process writes it at a time.
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
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw new Error(`createRun: ${folder} cannot be made (${(error as Error).message}). Name a folder that can be written.`, { cause: error }) // prettier-ignore
  }
  const unlock = lock(folder)
  if (existing === 'replace')
    for (const entry of readdirSync(folder)) if (entry !== 'lock') rmSync(join(folder, entry), { recursive: true })
  const whole = (file: string, content: string): void => {
    writeFileSync(join(folder, `${file}.tmp`), content)
    renameSync(join(folder, `${file}.tmp`), join(folder, file))
  }
  whole('config.yaml', text)
  /** Opens the logs as they were at a checkpoint; what came after it is dropped, later checkpoints with it. */
  const logsFrom = (from: StoredCheckpoint | null | undefined) => {
    const later = from ? checkpointsIn(folder).filter(({ step }) => step > from.step) : []
    for (const { dir } of later) rmSync(dir, { recursive: true })
    const metrics = openRowLog(join(folder, 'metrics.jsonl'), from?.logs.metrics)
    const samples = openRowLog(join(folder, 'samples.jsonl'), from?.logs.samples)
    const events =
      report_to === 'tensorboard' ? openTensorBoardLog(folder, from ? from.step + 1 : undefined) : undefined
    const close = () => [metrics, samples, events].forEach(log => log?.close())
    return { metrics, samples, events, close }
  }
  let logs = logsFrom(from)
  const warnings = openRowLog(join(folder, 'warnings.jsonl'))
  let open = true
  const check = (): void => {
    if (!open) throw new Error(`${folder}: the run is closed. Create it again with existing: 'append'.`)
  }

  return {
    name,
    dir: folder,
    log(row) {
      check()
      logs.metrics.append([row])
      logs.events?.append(row)
    },
    logSamples(rows) {
      check()
      logs.samples.append(rows)
    },
    logWarning(row) {
      check()
      warnings.append([row])
    },
    async checkpoint(step, write, limit = null, measured) {
      check()
      const sizes = { metrics: logs.metrics.flush(), samples: logs.samples.flush() }
      const target = join(folder, `checkpoint-${step}`)
      const draft = `${target}.tmp`
      rmSync(draft, { recursive: true, force: true })
      try {
        mkdirSync(draft)
        await write(draft)
        await seal(draft, step, sizes, measured)
        rmSync(target, { recursive: true, force: true })
        renameSync(draft, target)
        flush(folder)
      } catch (error) {
        rmSync(draft, { recursive: true, force: true }) // its room is free again
        throw new Error(
          `${target}: cannot be written (${(error as Error).message}). Those before are whole. Free some space, or check the folder.`,
          { cause: error },
        )
      }
      const best = ranked(folder)[0]
      const older = checkpointsIn(folder).filter(({ step: other }) => other < step && other !== best?.step)
      const kept = limit === null ? Infinity : limit - 1 - (best && best.step < step ? 1 : 0)
      for (const { dir } of older.slice(0, Math.max(0, older.length - Math.max(0, kept))))
        rmSync(dir, { recursive: true })
      whole(
        'checkpoints.json',
        `${JSON.stringify({ latest: basename(target), best: best && { checkpoint: basename(best.dir), ...best.measured } }, null, 2)}\n`,
      )
      return target
    },
    rewind(from) {
      check()
      logs.close()
      logs = logsFrom(from)
    },
    close() {
      if (!open) return
      open = false
      logs.close()
      warnings.close()
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
