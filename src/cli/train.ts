import { existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { isRgbImage, writePng } from '../io/images.js'
import {
  dpo,
  grpo,
  sft,
  srpo,
  type CompletionRow,
  type PromptRow,
  type Row,
  type Run,
  type TrainState,
} from '../optimizers/index.js'
import { rewardBatch } from '../optimizers/rollout.js'
import { warnings } from '../optimizers/warnings.js'
import type { Policy } from '../policies/index.js'
import {
  createRun,
  latestCheckpoint,
  loadState,
  openRun,
  saveState,
  type RunWriter,
  type StoredCheckpoint,
} from '../runs/index.js'
import { platform } from '../xla/index.js'
import { parse, type Command } from './command.js'
import { evaluatePolicy, type Metric } from './evaluate.js'
import { loopDefaults, ownArgs, readExperiment, type Experiment, type ExperimentConfig } from './experiment.js'
import { without } from './named.js'
import { readDataset, usableRows, type DataRow } from './namedDatasets.js'
import { openPolicy } from './openPolicy.js'
import { textTable } from './textTable.js'

export interface TrainOptions {
  /** Replace a run that lies in output_dir. */
  overwrite?: boolean
  /** Go on from the last sound checkpoint of the run that lies in output_dir; from the start, if there is none. */
  resume?: boolean
  /** Ends the run after its current step; what there is is kept. */
  signal?: AbortSignal
  /** Called after each step. */
  onRow?: (row: Row, steps: number) => void
}

export interface TrainResult {
  output_dir: string
  /** Directory of the weights: an adapter in PEFT's layout, or a model in Hugging Face's. */
  model: string
  /** Updates done, and asked for. */
  step: number
  steps: number
  /** Of the last step. */
  metrics: Row
  /** Of the last evaluation, if there is an eval_dataset. */
  evaluation: Metric[]
  /** Rows of the data set that were left out (`bad_rows: skip`), and why. */
  skipped: string[]
}

/** Trains what a config says into its output_dir: config.yaml, metrics.jsonl, samples.jsonl, checkpoint-STEP/, model/.
 * @throws Error if the folder exists, or holds a run of another config; or what a step threw, after the state before it was kept */
export async function train(experiment: Experiment, options: TrainOptions = {}): Promise<TrainResult> {
  const { config } = experiment
  const { output_dir, dataset, eval_dataset } = config
  if (output_dir === null || dataset === null)
    throw new Error(`train: the config has no ${output_dir === null ? 'output_dir' : 'dataset'}, needed one.`)
  if (existsSync(output_dir) && !options.overwrite && !options.resume)
    throw new Error(`train: output_dir ${output_dir} exists. Name another, or pass --resume to go on with that run, or --overwrite to replace it.`) // prettier-ignore
  const from = options.resume ? await checkpointOf(config, output_dir) : null
  const given = await readDataset(dataset)
  const heldOut = eval_dataset === null ? null : await readDataset(eval_dataset)
  await checkOnReferences(experiment, given)
  const policy = await openPolicy(config)
  try {
    const { rows, skipped } = await usableRows(
      dataset,
      given,
      policy,
      Number(config.args['max_completion_length'] ?? 1),
    )
    const reference = heldOut?.some(row => 'chosen' in row) ? policy.reference : policy.weights // taken before training
    const run = startRun(policy, rows, experiment, from ? await loadState<TrainState>(from.dir) : undefined)
    const folder = createRun(basename(output_dir), { ...config, versions: versions() }, {
      dir: dirname(output_dir),
      existing: options.overwrite || (options.resume && from === null) ? 'replace' : options.resume ? 'append' : 'error',
      from,
      report_to: config.args.report_to,
    }) // prettier-ignore
    const model = join(output_dir, 'model')
    let evaluation: Metric[] = []
    const evaluated = async (row: Row): Promise<Row> => {
      const due = row.step === run.steps || row.step % (config.args.eval_steps ?? Infinity) === 0
      if (heldOut === null || !due) return row
      evaluation = await evaluatePolicy(policy, reference, heldOut, experiment)
      return { ...row, ...Object.fromEntries(evaluation.map(({ metric, mean }) => [`eval_${metric}`, mean])) }
    }
    let [step, saved] = [from?.step ?? 0, from?.step ?? 0]
    const updates = Number(config.args['num_iterations'] ?? 1) // on a batch, which a run cannot leave and come back to
    const every = config.args.save_steps ?? Infinity
    const save = async () => {
      if (step === saved || step % updates !== 0 || step !== run.rows.at(-1)!.step) return
      const fill = async (dir: string) => {
        await policy.save(dir)
        await saveState(dir, run.state)
      }
      await folder.checkpoint(step, fill, config.args.save_total_limit)
      saved = step
    }
    try {
      for await (const row of run) {
        await logSamples(folder, run, row.step)
        folder.log(await evaluated(row))
        step = row.step
        options.onRow?.(row, run.steps)
        if (Math.floor(step / every) > Math.floor(saved / every)) await save()
        if (options.signal?.aborted && step % updates === 0) break
      }
      await save()
    } catch (error) {
      await save().catch(() => {}) // the state may be lost with it, or the disk full: then the checkpoint before counts
      if (saved === 0) throw error
      throw new Error(`${(error as Error).message} Once this is mended, train --resume goes on after step ${saved}.`, { cause: error }) // prettier-ignore
    } finally {
      folder.close()
      if (step === 0) rmSync(output_dir, { recursive: true }) // nothing was reached: the name is free again
    }
    await policy.save(model)
    const { ema } = run.state
    if (ema !== undefined) await (policy.fork(ema) as typeof policy).save(join(output_dir, 'model-ema'))
    const metrics = (run.rows.at(-1) ?? openRun(output_dir).rows.at(-1)) as Row
    run.dispose()
    return { output_dir, model, step: metrics.step, steps: run.steps, metrics, evaluation, skipped }
  } finally {
    policy.dispose()
  }
}

/** The checkpoint that a run goes on from.
 * @throws Error if all are damaged; or naming a field that is another than the run's, where it may not change: rewards may be mended */
async function checkpointOf(config: ExperimentConfig, dir: string): Promise<StoredCheckpoint | null> {
  const notes: string[] = []
  const from = await latestCheckpoint(dir, note => notes.push(note))
  if (from === null && notes.length > 0) throw new Error(`train --resume: no checkpoint is sound. ${notes.join(' ')} --overwrite starts anew.`) // prettier-ignore
  if (from === null) return null
  for (const note of notes) process.stderr.write(`${note}\n`)
  const before = openRun(dir).config as unknown as ExperimentConfig
  const flat = (given: ExperimentConfig) => without({ ...given, ...given.args, args: null }, FREE)
  const [was, is] = [flat(before), flat(config)]
  for (const key of new Set([...Object.keys(was), ...Object.keys(is)])) {
    const [a, b] = [was[key], is[key]].map(value => JSON.stringify(value))
    if (a !== b) throw new Error(`train --resume: ${key} is ${b}, but ${dir} was trained with ${a}. Set it so, or name another output_dir.`) // prettier-ignore
  }
  return from
}

/** Fields that may be others when a run goes on. */
const FREE = [
  'output_dir',
  'rewards',
  'versions',
  'eval_dataset',
  'max_steps',
  'num_train_epochs',
  ...Object.keys(loopDefaults),
]

/** Rewards of a method that draws see the outputs that the first rows hold, where they do: a missing column or a service that is away
 * shows before weights are loaded. */
async function checkOnReferences({ config, rewards }: Experiment, rows: readonly DataRow[]): Promise<void> {
  const first = rows.slice(0, CHECKED).filter(row => 'completion' in row || 'chosen' in row)
  if (rewards === null || first.length === 0) return
  const outputs = first.map(row => row['completion'] ?? row['chosen'])
  await rewards.score(rewardBatch(first as unknown as PromptRow[], outputs, 1)).catch((error: Error) => {
    throw new Error(`${error.message} (dry run on the data set's first ${first.length} outputs; ${config.model} was not loaded.)`, { cause: error }) // prettier-ignore
  })
}

const CHECKED = 4

/** The run of a config, before its first update. */
export function startRun(
  policy: Policy,
  rows: readonly DataRow[],
  { config: { optimizer, args }, rewards }: Experiment,
  state: TrainState | undefined,
): Run {
  const own = ownArgs(args)
  const prompts = rows as unknown as readonly PromptRow[]
  switch (optimizer) {
    case 'sft':
      return sft(policy, rows as unknown as readonly CompletionRow[], own, state)
    case 'grpo':
      return grpo(policy, prompts, rewards!, own, state)
    case 'dpo':
      return dpo(policy, prompts, { ...own, rewards }, state)
    case 'srpo':
      return srpo(policy, prompts, rewards!, own, state)
  }
}

/** Keeps the completions of a step's first prompt with their scores; of pictures the first, as a file. */
async function logSamples(folder: RunWriter, run: Run, step: number): Promise<void> {
  if (run.scored === undefined) return
  const { batch, scores } = run.scored
  const first = batch.prompts.findIndex(prompt => prompt !== batch.prompts[0])
  const names = Object.keys(run.scored.weights)
  const group = first === -1 ? batch.completions : batch.completions.slice(0, first)
  const picture = group.find(isRgbImage)
  if (picture) await writePng(join(folder.dir, 'samples', `${step}.png`), picture)
  const rewards = (n: number) => Object.fromEntries(names.map((name, k) => [name, scores[k]![n]!]))
  folder.logSamples(
    picture
      ? [{ step, prompt: (batch.prompts[0] as { prompt?: unknown }).prompt, completion: `samples/${step}.png`, rewards: rewards(0) }]
      : group.map((completion, n) => ({ step, prompt: batch.prompts[n], completion, rewards: rewards(n) })),
  ) // prettier-ignore
}

function versions(): Record<string, string> {
  const require = createRequire(import.meta.url)
  const version = (name: string) => (require(`${name}/package.json`) as { version: string }).version
  return {
    rewardlab: version('rewardlab'),
    node: process.versions.node,
    tfjs: version('@tensorflow/tfjs-core'),
    backend: tf.getBackend(),
    plugin: platform()?.version ?? 'none',
  }
}

/** Reports steps on stderr, with the time that is left: one line that changes on a terminal, elsewhere some twenty lines a run. */
export function progress(
  stream: Pick<NodeJS.WriteStream, 'write' | 'isTTY'> = process.stderr,
): (row: Row, steps: number) => void {
  let first: { time: number; step: number } | undefined
  return (row, steps) => {
    const now = performance.now()
    first ??= { time: now, step: row.step } // the first step compiles
    const done = row.step - first.step
    const left = done === 0 ? null : ((now - first.time) / done) * (steps - row.step)
    const headline = row['reward'] === undefined ? `loss ${digits(row['loss'])}` : `reward ${digits(row['reward'])}`
    const line = `step ${row.step}/${steps}, ${headline}${left === null ? '' : `, ${duration(left)} left`}`
    if (stream.isTTY) stream.write(`\r${line}\u001b[K${row.step === steps ? '\n' : ''}`)
    else if (row.step === steps || row.step % Math.ceil(steps / 20) === 0) stream.write(`${line}\n`)
  }
}

/** Says on stderr what seems wrong with a run, each thing once. */
export function watch(stream: Pick<NodeJS.WriteStream, 'write' | 'isTTY'> = process.stderr): (row: Row) => void {
  const rows: Row[] = []
  const told = new Set<string>()
  return row => {
    rows.push(row)
    for (const warning of warnings(rows)) {
      const kind = warning.replaceAll(/[-\d.]+/g, '') // the same again has other figures
      if (!told.has(kind)) stream.write(`${stream.isTTY ? '\n' : ''}warning: ${warning}\n`) // below the line of progress
      told.add(kind)
    }
  }
}

const digits = (value: unknown): string => (typeof value === 'number' ? value.toPrecision(3) : 'none')

/** Milliseconds as `1:02:03` or `2:03`. */
function duration(ms: number): string {
  const [hours, minutes, seconds] = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1000) % 60].map(Math.floor) as [number, number, number] // prettier-ignore
  const two = (n: number) => String(n).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`
}

export const trainCommand: Command = {
  summary: 'train a model as a config says, unattended',
  help: `Usage: rewardlab train CONFIG.yaml [options]

Trains by SFT, GRPO, DPO or SRPO and leaves in output_dir: config.yaml (every field, versions), metrics.jsonl (a row a step, TRL's names),
samples.jsonl, model/ (opens in transformers, PEFT or diffusers). Fields and defaults: docs/cli.md; examples: configs/. Relative paths
start at the working directory. Ctrl-C ends after the current step, keeps what there is, and exits with 1.
  --set a.b=VALUE      change a field, as args.max_steps=10; may be repeated
  --resume             go on from the last sound checkpoint in output_dir, as if nothing had happened; from the start, if there is none
  --overwrite          replace the run that lies in output_dir
  --json               print the result as JSON`,
  async run(args, print) {
    const { values, positionals } = parse(args, ['CONFIG.yaml'], {
      set: { type: 'string', multiple: true },
      overwrite: { type: 'boolean' },
      resume: { type: 'boolean' },
    })
    if (values.overwrite && values.resume)
      throw new Error('--resume goes on, --overwrite starts anew. Pass one of them.')
    const experiment = await readExperiment(positionals[0]!, values.set)
    const stop = new AbortController()
    const onSignal = () => {
      if (stop.signal.aborted) process.exit(1)
      process.stderr.write('\nstopping after this step; once more to leave at once\n')
      stop.abort()
    }
    const signals = ['SIGINT', 'SIGTERM'] as const
    for (const signal of signals) process.on(signal, onSignal)
    try {
      const [shown, watched] = [progress(), watch()]
      const onRow = (row: Row, steps: number) => {
        shown(row, steps)
        watched(row)
      }
      const options = { overwrite: values.overwrite, resume: values.resume, signal: stop.signal, onRow }
      const result = await train(experiment, options)
      if (result.step < result.steps)
        throw new Error(
          `stopped after step ${result.step} of ${result.steps}; ${result.output_dir} holds what there is, --resume goes on.`,
        )
      const evaluated = result.evaluation.length === 0 ? [] : [textTable(result.evaluation)]
      const skipped = result.skipped.length === 0 ? [] : [`left out ${result.skipped.length} rows:`, ...result.skipped]
      print([...evaluated, ...skipped, `${result.step} steps → ${result.model}`].join('\n'), result)
    } finally {
      for (const signal of signals) process.off(signal, onSignal)
    }
  },
}
