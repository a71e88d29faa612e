import { requireOneOf } from '../config.js'
import type { WeightType } from '../io/checkpoint.js'
import { kontextConfigs, kontextPlans, type EstimateOptions } from '../models/index.js'
import { memory, onXla, platform, start } from '../xla/index.js'
import { numberOf, parse, type Command, type Print } from './command.js'
import { estimateTraining, type TrainingEstimate } from './estimateTraining.js'
import { readExperiment, type Experiment, type ExperimentConfig } from './experiment.js'
import { readDataset, type DataRow } from './namedDatasets.js'
import { isPipeline } from './openPolicy.js'
import { stepSeconds } from './stepTime.js'

const GIB = 2 ** 30

export const estimateCommand: Command = {
  summary: 'memory and time that a training config would take, or memory for a pipeline',
  help: `Usage: rewardlab estimate CONFIG.yaml|PIPELINE_DIR [options]

Of a training config for a language model: weights, copies, optimizer, gradients, activations and sampling, for the longest rows of its
data set, and the time of a step. The update is compiled, nothing is allocated. What does not fit is refused, with the changes that would help most.
Of a FluxKontextPipeline: what its weights, an adapter with AdamW, gradients with checkpointing and the autoencoder take, as it stands
and with text features cached, tiles, and 4-bit blocks. The weights need not be there.
  --memory GIB          of the device; default what it reports, on a CPU what is free
  --json                print all parts, in bytes
Of a config:
  --set a.b=VALUE       change a field; may be repeated
Of a pipeline:
  --dtype T             float32 or bfloat16; default bfloat16
  --r N                 rank of the adapter; default 64
  --batch_size N        rows at a time; default 1
  --width N --height N  of target and reference; default 1024
  --max_sequence_length N  tokens of the prompt; default 512`,
  async run(args, print) {
    const text = { type: 'string' } as const
    const { values, positionals } = parse(args, ['CONFIG.yaml|PIPELINE_DIR'], {
      memory: text,
      dtype: text,
      r: text,
      batch_size: text,
      width: text,
      height: text,
      max_sequence_length: text,
      set: { type: 'string', multiple: true },
    })
    const room = values.memory === undefined ? await deviceMemory() : numberOf('memory', values.memory) * GIB
    const [path] = positionals as [string]
    if (/\.ya?ml$/.test(path)) return ofTraining(path, values.set ?? [], room, print)
    const options: Partial<EstimateOptions> = {}
    for (const name of ['batch_size', 'width', 'height', 'max_sequence_length'] as const)
      if (values[name] !== undefined) options[name] = numberOf(name, values[name])
    if (values.r !== undefined) options.adapter = { r: numberOf('r', values.r) }
    if (values.dtype !== undefined) {
      requireOneOf('estimate', 'dtype', values.dtype, ['float32', 'bfloat16'])
      options.dtype = values.dtype as WeightType
    }
    const plans = kontextPlans(await kontextConfigs(path), options)
    const cell = (bytes: number) => {
      const fits = room === null ? '' : bytes <= room ? ' fits' : ' too large'
      return `${inGib(bytes)}${fits}`.padEnd(20)
    }
    const rows = plans.map(
      ({ plan, estimate }) => `${plan.padEnd(50)}${cell(estimate.editing)}${cell(estimate.training)}`,
    )
    const head = `${''.padEnd(50)}${'editing'.padEnd(20)}training an adapter`
    const on = room === null ? '' : `\nThe device has ${inGib(room)}.`
    print([head, ...rows].map(row => row.trimEnd()).join('\n') + on, { memory: room, plans })
  },
}

/** @throws Error with the changes that would help most, if the training does not fit */
async function ofTraining(path: string, sets: readonly string[], room: number | null, print: Print): Promise<void> {
  const experiment = await readExperiment(path, sets)
  const { dataset, model } = experiment.config
  if (await isPipeline(model))
    throw new Error(`${path} trains a pipeline. Pass its directory: rewardlab estimate ${model}.`)
  if (dataset === null) throw new Error('estimate: the config has no dataset, needed one for the lengths of its rows.')
  const rows = await readDataset(dataset)
  const { memory: estimate, work, steps } = await estimateTraining(experiment, rows)
  const seconds = await stepSeconds(work)
  const parts = partsOf(estimate).map(([part, bytes]) => `${part.padEnd(12)}${inGib(bytes).padStart(12)}`)
  print([...parts, timeLine(seconds, steps)].join('\n'), { memory: room, estimate, seconds, steps })
  await requireFits(path, sets, experiment, rows, estimate, room)
}

/** Tells what a training would take, before any of it is allocated; nothing of pipelines, and on a stock backend.
 * @param say takes a line
 * @throws Error with the changes that would help most, if it does not fit */
export async function checkMemory(
  path: string,
  sets: readonly string[],
  experiment: Experiment,
  rows: readonly DataRow[],
  say: (text: string) => void,
): Promise<void> {
  const room = await deviceMemory()
  if (!onXla() || (await isPipeline(experiment.config.model))) return
  const estimated = await estimateTraining(experiment, rows).catch((error: Error) =>
    say(`memory not estimated: ${error.message}`),
  )
  if (!estimated) return
  const { memory: estimate, work, steps } = estimated
  const parts = partsOf(estimate).filter(([, bytes]) => bytes > 0).map(([part, bytes]) => `${part} ${inGib(bytes)}`) // prettier-ignore
  say(`memory: ${parts.join(', ')}${room === null ? '' : ` of ${inGib(room)}`}`)
  await requireFits(path, sets, experiment, rows, estimate, room)
  say(timeLine(await stepSeconds(work), steps))
}

function timeLine({ update, sampling }: { update: number; sampling: number }, steps: number): string {
  const parts = sampling > 0 ? `drawing ${inSeconds(sampling)}, update ${inSeconds(update)}; ` : ''
  const [step, whole] = [inSeconds(update + sampling), inSeconds(steps * (update + sampling))]
  return `time: about ${step} a step (${parts}rough: it is measured as the run goes), ${whole} for ${steps} steps`
}

const inSeconds = (s: number): string => (s < 90 ? `${s.toPrecision(2)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toPrecision(2)} h`) // prettier-ignore

const partsOf = (estimate: TrainingEstimate) => Object.entries(estimate) as [keyof TrainingEstimate, number][]

async function requireFits(
  path: string,
  sets: readonly string[],
  { config }: Experiment,
  rows: readonly DataRow[],
  estimate: TrainingEstimate,
  room: number | null,
): Promise<void> {
  if (room === null || estimate.total <= room) return
  const helps: { change: string[]; total: number }[] = []
  for (const change of savings(config)) {
    const { total } = (await estimateTraining(await readExperiment(path, [...sets, ...change]), rows)).memory
    if (total < estimate.total) helps.push({ change, total })
  }
  const best = helps.sort((a, b) => a.total - b.total).slice(0, 3)
  const words = best.map(({ change, total }) => `${change.map(set => `--set '${set}'`).join(' ')} (${inGib(total)})`)
  throw new Error(`${inGib(estimate.total)} are more than the ${inGib(room)} of the device. What helps most: ${words.join(', ')}.`) // prettier-ignore
}

/** Changes of a config, each by itself, that need less memory. */
function savings({ adapter, quantization, dtype, gradient_checkpointing, args }: ExperimentConfig): string[][] {
  const [rows, parts] = [Number(args['per_device_train_batch_size']), Number(args['gradient_accumulation_steps'])]
  const T = args['max_completion_length']
  const half = [`args.per_device_train_batch_size=${rows / 2}`, `args.gradient_accumulation_steps=${2 * parts}`]
  return [
    ...(adapter === null ? [['adapter={ r: 16, target_modules: all-linear }'], ['args.optim=adamw_8bit']] : []),
    ...(adapter !== null && quantization === null ? [['quantization=nf4']] : []),
    ...(dtype === 'float32' ? [['dtype=bfloat16']] : []),
    ...(gradient_checkpointing ? [] : [['gradient_checkpointing=true']]),
    ...(rows % 2 === 0 ? [half] : []),
    ...(typeof T === 'number' && T > 1 ? [[`args.max_completion_length=${Math.ceil(T / 2)}`]] : []),
  ]
}

const inGib = (bytes: number): string => `${(bytes / GIB).toFixed(bytes < GIB ? 3 : 1)} GiB`

/** Bytes of the first device, on a CPU what this process may still take; null where nobody says. */
async function deviceMemory(): Promise<number | null> {
  await start()
  return memory()?.reported[0]?.limit ?? (platform()?.platform === 'cpu' ? process.availableMemory() : null)
}
