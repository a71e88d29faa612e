import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, closeSync, openSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Row } from '../datasets/index.js'
import { exportTable } from '../plots/index.js'
import { openSweep, type StoredSweep, type StoredTrial } from '../runs/index.js'
import { lock, writerOf } from '../runs/lock.js'
import { requireWhole } from '../config.js'
import { numberOf, parse, untilSignalled, type Command } from './command.js'
import { textTable } from './textTable.js'
import { prepareSweep } from './sweepTrials.js'

export interface SweepOptions {
  /** Trials at a time. Default 1. */
  jobs?: number
  /** Ends the trials after their current steps; what there is is kept. */
  signal?: AbortSignal
  /** Called when a trial has come to its end, or failed. */
  onTrial?: (trial: StoredTrial, ended: number, all: number) => void
}

/** Trains what is left of a sweep, each trial in a process of its own that goes on from its last checkpoint. One that fails does not stop the others.
 * @param dir that {@link prepareSweep} has filled
 * @throws if another process sweeps there */
export async function runSweep(dir: string, { jobs = 1, signal, onTrial }: SweepOptions = {}): Promise<StoredSweep> {
  const unlock = lock(dir)
  const { trials } = openSweep(dir)
  const waiting = trials.filter(({ state }) => state !== 'done')
  let ended = trials.length - waiting.length
  const work = async (): Promise<void> => {
    for (let trial = waiting.shift(); trial && !signal?.aborted; trial = waiting.shift()) {
      await trained(dir, trial.dir, signal)
      const { name } = trial
      if (!signal?.aborted)
        onTrial?.(
          openSweep(dir).trials.find(other => other.name === name)!,
          ++ended,
          trials.length,
        )
    }
  }
  try {
    await Promise.all(Array.from({ length: jobs }, work))
    return openSweep(dir)
  } finally {
    unlock()
  }
}

/** How often a trial that was killed goes on. */
const KILLS = 3

/** Trains a trial until it ends by itself. */
async function trained(dir: string, run: string, signal: AbortSignal | undefined): Promise<void> {
  for (let kills = 0; kills <= KILLS && !signal?.aborted; kills++) {
    while (writerOf(run)?.host === hostname()) await sleep(1000) // of a sweep that was killed: it ends after its step
    const log = openSync(`${run}.log`, 'w')
    const child = start(`${run}.yaml`, log)
    const stop = () => void child.kill('SIGTERM')
    signal?.addEventListener('abort', stop)
    const [, killedBy] = (await once(child, 'exit')) as [number | null, string | null]
    signal?.removeEventListener('abort', stop)
    closeSync(log)
    if (killedBy === null) return
    appendFileSync(`${run}.log`, `\nrewardlab train: killed by ${killedBy}, ${kills + 1} times.\n`)
  }
}

/** In a group of its own, so that Ctrl-C reaches the sweep alone; its channel tells it when the sweep is gone. */
function start(config: string, log: number): ChildProcess {
  const main = fileURLToPath(new URL('./main.js', import.meta.url))
  return spawn(process.execPath, [main, 'train', config, '--resume'], { stdio: ['ignore', 'ignore', log, 'ipc'], detached: true }) // prettier-ignore
}

/** The trials that are not in the comparison, and the comparison. */
function told({ trials, comparison }: StoredSweep): string {
  const rest = trials.filter(({ state }) => state !== 'done')
  const lines = rest.map(({ name, state, error }) => `${name}: ${state}${error === null ? '' : `: ${error}`}`)
  const table = comparison.numRows() > 0 ? [textTable((comparison.objects() as Row[]).map(folded))] : []
  return [...lines, `${trials.length - rest.length} of ${trials.length} trials are done.`, ...table].join('\n')
}

/** A row of the comparison with bounds in the cells of their means. */
function folded(row: Row): Record<string, string> {
  const short = (value: unknown) => {
    if (typeof value === 'number') return String(Number(value.toPrecision(4)))
    return typeof value === 'string' ? value : JSON.stringify(value)
  }
  const names = Object.keys(row).filter(name => !/_(low|high)$/.test(name))
  const cell = (name: string) =>
    row[`${name}_low`] == null ? '' : ` [${short(row[`${name}_low`])}, ${short(row[`${name}_high`])}]`
  return Object.fromEntries(names.map(name => [name, short(row[name]) + cell(name)]))
}

export const sweepCommand: Command = {
  summary: 'train every combination of seeds, methods and settings, and compare',
  help: `Usage: rewardlab sweep SWEEP.yaml [options]

Each trial is a process of its own, as rewardlab train --resume, with a run's folder in output_dir. Call it again after anything: done trials stay, others go on
from their last checkpoint, failed ones are tried again. Ends with a table of means and 95 % intervals over seeds (comparison.csv). SWEEP.yaml:
  config: configs/arithmetic_srpo.yaml          one, or a list: one a method
  set: { args: { max_steps: 100 } }             fields of all trials
  over:                                         lists of values: each combination is a trial
    args: { seed: [1, 2, 3] }
    rewards: { format: { weight: [0.2, 1] } }
  metrics: [eval_reward]                        columns to compare; default those of the evaluation, else reward or loss
  output_dir: runs/format-weight
Ctrl-C ends the trials after their current steps. On several machines: scripts/sweep_ray.py.
  --jobs N             trials at a time; default 1
  --dry_run            check and lay out all trials, train none, and tell how they stand
  --set a.b=VALUE      change a field of SWEEP.yaml; may be repeated
  --json               print trials and comparison as JSON`,
  async run(args, print) {
    const { values, positionals } = parse(args, ['SWEEP.yaml'], {
      set: { type: 'string', multiple: true },
      jobs: { type: 'string', default: '1' },
      dry_run: { type: 'boolean' },
    })
    const jobs = numberOf('jobs', values.jobs)
    requireWhole('sweep', 'jobs', jobs, 1)
    const dir = await prepareSweep(positionals[0]!, values.set)
    const show = async (sweep: StoredSweep) => {
      const { trials, comparison } = sweep
      if (comparison.numRows() > 0) await exportTable(comparison, join(dir, 'comparison'), ['csv'])
      print(told(sweep), { dir, trials, comparison: comparison.objects() })
    }
    if (values.dry_run) return show(openSweep(dir))
    const sweep = await untilSignalled(
      (signal, say) =>
      runSweep(dir, { jobs, signal, onTrial: ({ name, state, error }, ended, all) => say(`${ended}/${all} ${name}: ${error ?? state}`) }), // prettier-ignore
    )
    await show(sweep)
    const rest = sweep.trials.filter(({ state }) => state !== 'done')
    if (rest.length > 0) throw new Error(`${rest.length} of ${sweep.trials.length} trials are not done. The same command goes on.`) // prettier-ignore
  },
}
