import { existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { isRgbImage, writePng } from '../io/images.js'
import { writeWhole } from '../io/writeWhole.js'
import type { PromptRow, Row, Run, TrainState } from '../optimizers/index.js'
import { rewardBatch } from '../optimizers/rollout.js'
import { RECENT, type Warning } from '../optimizers/warnings.js'
import {
  createRun,
  bestCheckpoint,
  hostCopy,
  latestCheckpoint,
  loadState,
  openRun,
  type Measured,
  type RunWriter,
  type StoredCheckpoint,
} from '../runs/index.js'
import { disposeTree, platform } from '../xla/index.js'
import { checkpointing } from './checkpointing.js'
import { parse, untilSignalled, type Command } from './command.js'
import { checkMemory } from './estimate.js'
import { evaluatePolicy, leftOut, type Metric } from './evaluate.js'
import { changedField, loopDefaults, readExperiment, type Experiment, type ExperimentConfig } from './experiment.js'
import { readDataset, usableRows, type DataRow } from './namedDatasets.js'
import { openPolicy } from './openPolicy.js'
import { progress, warningLine } from './progress.js'
import { startRun } from './startRun.js'
import { textTable } from './textTable.js'
import { diskWarning, watch } from './watch.js'

export interface TrainOptions {
  /** Replace a run that lies in output_dir. */
  overwrite?: boolean
  /** Go on from the last sound checkpoint of the run that lies in output_dir; from the start, if there is none. */
  resume?: boolean
  /** Ends the run after its current step; what there is is kept. */
  signal?: AbortSignal
  /** Called with the data set's rows before weights are loaded, unless a checkpoint was found to go on from: it had room before.
   * @throws what keeps the run from its start */
  check?: (rows: readonly DataRow[]) => Promise<void>
  /** Called after each step. */
  onRow?: (row: Row, steps: number) => void
  /** Told what seems wrong, each kind once. */
  onWarning?: (text: string) => void
}

export interface TrainResult {
  output_dir: string
  /** Directory of the weights: an adapter in PEFT's layout, or a model in Hugging Face's. */
  model: string
  /** Updates done, and asked for. */
  step: number
  steps: number
  /** The step whose weights were kept: the last, or with `load_best_model_at_end` the best. */
  kept: number
  /** The warning that ended the run (`on_warning`), if one did. */
  stopped: string | null
  /** Of the step that was kept. */
  metrics: Row
  /** Of that step, if this process evaluated it. */
  evaluation: Metric[]
  /** Rows of the data sets that were left out (`bad_rows: skip`), and why. */
  skipped: string[]
}

/** Trains what a config says into its output_dir: config.yaml, metrics.jsonl, samples.jsonl, warnings.jsonl, checkpoint-STEP/, model/, result.json.
 * @throws Error if the folder exists, or holds a run of another config; or what a step threw, after the state before it was kept */
export async function train(experiment: Experiment, options: TrainOptions = {}): Promise<TrainResult> {
  const { config } = experiment
  const { output_dir, dataset, eval_dataset, args } = config
  if (output_dir === null || dataset === null)
    throw new Error(`train: the config has no ${output_dir === null ? 'output_dir' : 'dataset'}, needed one.`)
  if (existsSync(output_dir) && !options.overwrite && !options.resume)
    throw new Error(`train: output_dir ${output_dir} exists. Name another, or pass --resume to go on with that run, or --overwrite to replace it.`) // prettier-ignore
  const from = options.resume ? await checkpointOf(config, output_dir) : null
  const given = await readDataset(dataset)
  const held = eval_dataset && { config: eval_dataset, rows: await readDataset(eval_dataset) }
  if (from === null) await options.check?.(given)
  await checkOnReferences(experiment, given)
  const policy = await openPolicy(config)
  try {
    const { rows, skipped } = await usableRows(dataset, given, policy, args)
    const usable = held && (await usableRows(held.config, held.rows, policy, args))
    const heldOut = usable && usable.rows
    skipped.push(...(usable?.skipped ?? []))
    const reference = heldOut?.some(row => 'chosen' in row) ? policy.reference : policy.weights // taken before training
    let run = startRun(policy, rows, experiment, from ? await loadState<TrainState>(from.dir) : undefined)
    const folder = createRun(basename(output_dir), { ...config, versions: versions() }, {
      dir: dirname(output_dir),
      existing: options.overwrite || (options.resume && from === null) ? 'replace' : options.resume ? 'append' : 'error',
      from,
      report_to: args.report_to,
    }) // prettier-ignore
    rmSync(join(output_dir, RESULT), { force: true }) // of an end that is none any more
    let [step, saved] = [from?.step ?? 0, from?.step ?? 0]
    const warn = ({ kind, text }: Warning) => {
      options.onWarning?.(text)
      folder.logWarning({ time: new Date().toISOString(), step, kind, text })
    }
    const watched = watch(openRun(output_dir).rows as Row[], args.on_warning, warn)
    let onDisk: ReturnType<typeof watched.see>
    const checkpoints = checkpointing(folder, policy, from?.step ?? 0, args.save_total_limit, bytes => {
      const warning = diskWarning(output_dir, bytes)
      if (warning) onDisk = watched.see(warning)
    })
    const evaluations = new Map<number, Metric[]>()
    const evaluated = async (row: Row): Promise<Row> => {
      const due = row.step === run.steps || row.step % (args.eval_steps ?? Infinity) === 0
      if (heldOut === null || !due) return row
      const evaluation = await evaluatePolicy(policy, reference, heldOut, experiment)
      evaluations.set(row.step, evaluation)
      return { ...row, ...Object.fromEntries(evaluation.map(({ metric, mean }) => [`eval_${metric}`, mean])) }
    }
    let last: Row | undefined
    const updates = Number(args['num_iterations'] ?? 1) // on a batch, which a run cannot leave and come back to
    const every = args.save_steps ?? Infinity
    const save = async () => {
      if (step === saved || step % updates !== 0 || step !== run.rows.at(-1)!.step) return
      saved = step
      await checkpoints.save(step, run.state, measuredOf(last!, config))
    }
    /** Trains to the end, or to a warning on which the run does something else than go on. */
    const course = async () => {
      for await (const row of run) {
        await logSamples(folder, run, row.step)
        folder.log((last = await evaluated(row)))
        step = row.step
        options.onRow?.(row, run.steps)
        checkpoints.check()
        const act = watched.see(last) ?? onDisk
        if (act && step % updates === 0) return act
        if (Math.floor(step / every) > Math.floor(saved / every)) await save()
        if (options.signal?.aborted && step % updates === 0) return undefined
      }
      return undefined
    }
    let stopped: string | null = null
    try {
      let tries = { step: -1, times: 0 }
      for (let act = await course(); act; act = await course()) {
        await checkpoints.settled()
        const back = act.action === 'rollback' ? await checkpointBefore(output_dir, step) : null
        tries = back && back.step > tries.step ? { step: back.step, times: 1 } : { ...tries, times: tries.times + 1 }
        if (back === null || tries.times > ROLLBACKS) {
          stopped = act.text
          break
        }
        warn({ ...act, text: `${act.text} Back to ${back.dir}, on with other rows.` })
        run = await wentBack(run, back, state => startRun(policy, rows, experiment, state))
        folder.rewind(back)
        watched.rewind(back.step)
        step = saved = back.step
      }
      await save()
      await checkpoints.settled()
    } catch (error) {
      await checkpoints.settled().catch(() => {})
      saved = checkpoints.written
      await save()
        .then(checkpoints.settled)
        .catch(() => {}) // the state may be lost with it, or the disk full: then the checkpoint before counts
      if (checkpoints.written === 0) throw error
      throw new Error(`${(error as Error).message} Once this is mended, train --resume goes on after step ${checkpoints.written}.`, { cause: error }) // prettier-ignore
    } finally {
      folder.close()
      if (step === 0) rmSync(output_dir, { recursive: true }) // nothing was reached: the name is free again
    }
    const ended = step === run.steps || stopped !== null
    const best = ended && args.load_best_model_at_end ? await bestCheckpoint(output_dir) : null
    if (best && best.step !== step) {
      run.dispose()
      run = startRun(policy, rows, experiment, await loadState<TrainState>(best.dir))
    }
    const { trainable, ema } = run.state
    const model = join(output_dir, 'model')
    await policy.save(model, { trainable })
    if (ema !== undefined) await policy.save(join(output_dir, 'model-ema'), { trainable: ema })
    const kept = best?.step ?? step
    const metrics = openRun(output_dir).rows.find(row => row['step'] === kept) as Row
    const result: TrainResult = { output_dir, model, step, steps: run.steps, kept, stopped, metrics, evaluation: evaluations.get(kept) ?? [], skipped } // prettier-ignore
    run.dispose()
    if (ended) await writeWhole(join(output_dir, RESULT), `${JSON.stringify(result, null, 2)}\n`)
    return result
  } finally {
    policy.dispose()
  }
}

/** What a run came to: it lies in the folder of one that has reached its last step. */
const RESULT = 'result.json'

/** How often a run goes back to a checkpoint, or to earlier ones, before it has reached a later one; then it ends. */
const ROLLBACKS = 3

/** What a run goes back to at a warning: the best checkpoint, or the last one from before the rows that it was told by. */
const checkpointBefore = async (dir: string, step: number): Promise<StoredCheckpoint | null> =>
  (await bestCheckpoint(dir)) ?? latestCheckpoint(dir, () => {}, step - RECENT)

/** A run anew from a checkpoint, but with the random key and the place in the data set of now: the same again would end the same. */
async function wentBack(run: Run, back: StoredCheckpoint, start: (state: TrainState) => Run): Promise<Run> {
  const { position, key } = run.state
  const now = await hostCopy({ position, key })
  run.dispose()
  const state = await loadState<TrainState>(back.dir)
  disposeTree([state.position, state.key])
  return start({ ...state, ...now })
}

/** What checkpoints are ranked by, of a row that was evaluated.
 * @throws if the evaluation has no such metric */
function measuredOf(row: Row, { args }: ExperimentConfig): Measured | undefined {
  const { metric_for_best_model, greater_is_better } = args
  const known = Object.keys(row).filter(name => name.startsWith('eval_'))
  if (metric_for_best_model === null || known.length === 0) return undefined
  const metric = `eval_${metric_for_best_model.replace(/^eval_/, '')}`
  if (!known.includes(metric))
    throw new Error(`train: metric_for_best_model is "${metric_for_best_model}", but the evaluation has ${known.join(', ')}. Name one of those.`) // prettier-ignore
  const value = row[metric]
  return typeof value === 'number' && Number.isFinite(value) ? { metric, value, greater_is_better: greater_is_better! } : undefined // prettier-ignore
}

/** The checkpoint that a run goes on from.
 * @throws Error if all are damaged; or naming a field that is another than the run's, where it may not change: rewards may be mended */
async function checkpointOf(config: ExperimentConfig, dir: string): Promise<StoredCheckpoint | null> {
  const notes: string[] = []
  const from = await latestCheckpoint(dir, note => notes.push(note))
  if (from === null && notes.length > 0) throw new Error(`train --resume: no checkpoint is sound. ${notes.join(' ')} --overwrite starts anew.`) // prettier-ignore
  if (from === null) return null
  for (const note of notes) process.stderr.write(`${note}\n`)
  const changed = changedField(openRun(dir).config, config, FREE)
  if (changed) throw new Error(`train --resume: ${changed.field} is ${changed.is}, but ${dir} was trained with ${changed.was}. Set it so, or name another output_dir.`) // prettier-ignore
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
  'max_skipped_steps',
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

export const trainCommand: Command = {
  summary: 'train a model as a config says, unattended',
  help: `Usage: rewardlab train CONFIG.yaml [options]

Trains by SFT, GRPO, DPO or SRPO and leaves in output_dir: config.yaml (every field, versions), metrics.jsonl (a row a step, TRL's names),
samples.jsonl, model/ (opens in transformers, PEFT or diffusers). Fields and defaults: docs/cli.md; examples: configs/. Relative paths
start at the working directory. Ctrl-C ends after the current step, keeps what there is, and exits with 1.
  --set a.b=VALUE      change a field, as args.max_steps=10; may be repeated
  --resume             go on from the last sound checkpoint in output_dir, as if nothing had happened; from the start, if there is none
  --overwrite          replace the run that lies in output_dir
  --force              train where the estimated memory is not there, too
  --json               print the result as JSON`,
  async run(args, print) {
    const { values, positionals } = parse(args, ['CONFIG.yaml'], {
      set: { type: 'string', multiple: true },
      overwrite: { type: 'boolean' },
      resume: { type: 'boolean' },
      force: { type: 'boolean' },
    })
    if (values.overwrite && values.resume)
      throw new Error('--resume goes on, --overwrite starts anew. Pass one of them.')
    const experiment = await readExperiment(positionals[0]!, values.set)
    const say = (text: string) => void process.stderr.write(`${text}\n`)
    const check = (rows: readonly DataRow[]) =>
      checkMemory(positionals[0]!, values.set ?? [], experiment, rows, say).catch((error: Error) => {
        throw new Error(`${error.message} --force trains all the same.`, { cause: error })
      })
    const options = {
      overwrite: values.overwrite,
      resume: values.resume,
      check: values.force ? undefined : check,
      onRow: progress(),
      onWarning: warningLine(),
    }
    const result = await untilSignalled(signal => train(experiment, { ...options, signal }))
    if (result.step < result.steps && result.stopped === null)
      throw new Error(
        `stopped after step ${result.step} of ${result.steps}; ${result.output_dir} holds what there is, --resume goes on.`,
      )
    const evaluated = result.evaluation.length === 0 ? [] : [textTable(result.evaluation)]
    const early = result.stopped === null ? [] : [`ended before step ${result.steps}: ${result.stopped}`]
    const end = `${result.step} steps → ${result.model}${result.kept === result.step ? '' : ` (step ${result.kept}, the best)`}`
    print([...evaluated, ...leftOut(result.skipped), ...early, end].join('\n'), result)
  },
}
