import * as tf from '@tensorflow/tfjs-core'
import type { EncodeOptions } from '../policies/policy.js'
import { loadPolicy, type LanguagePolicy, type Prompt, type TokenRows } from '../policies/index.js'
import {
  disposeTree,
  mapTensors,
  onXla,
  platform,
  tensorsOf,
  typeOf,
  type ElementType,
  type TensorTree,
} from '../xla/index.js'
import type { Experiment, ExperimentConfig } from './experiment.js'
import type { DataRow } from './namedDatasets.js'
import { tunedParts } from './openPolicy.js'
import { startRun } from './startRun.js'
import type { StepWork } from './stepTime.js'

/** Bytes on a device while a language model is trained. */
export interface TrainingEstimate {
  /** Of the model, an adapter among them. */
  weights: number
  /** The copy of the weights that is compared with, where all are trained; and a moving average. */
  copies: number
  /** AdamW's moments. */
  optimizer: number
  gradients: number
  /** What else an update computes with. */
  activations: number
  /** What drawing computes with: keys and values of all completions, logits. */
  sampling: number
  /** What the process takes besides, where the device's memory is the host's: programs, threads, JavaScript's heap. */
  runtime: number
  /** The most at a time. */
  total: number
}

/** Memory that the training of a language model takes, and the work of a step, before anything is allocated: the update is compiled for weights that are never
 * computed, as training will compile it, and the compiler says what it needs. Drawing is computed from the shapes. Compilation is not in it, nor
 * what the runtime takes for itself on a GPU.
 * @param rows of its data set
 * @throws Error on a stock backend */
export async function estimateTraining(
  experiment: Experiment,
  rows: readonly DataRow[],
): Promise<{ memory: TrainingEstimate; work: StepWork; steps: number }> {
  const { optimizer, model: dir, adapter, args, ...options } = experiment.config
  const { quantization, dtype, gradient_checkpointing } = options
  const policy = await loadPolicy(dir, { adapter: adapter ?? undefined, quantization, dtype, gradient_checkpointing, zeros: true, ...tunedParts(experiment.config) }) // prettier-ignore
  if (!onXla()) throw new Error(`estimate: needs the backend xla; this is ${tf.getBackend()}.`)
  const B = Number(args['per_device_train_batch_size']) * Number(args['gradient_accumulation_steps'])
  const draws = optimizer === 'grpo' || optimizer === 'srpo' || args['pairs'] === 'on_policy'
  const T = draws && args['completions'] !== 'pairs' ? Number(args['max_completion_length']) : undefined
  const compares = optimizer === 'dpo' || Number(args['beta'] ?? 0) > 0
  const run = startRun(policy, rows, experiment, undefined)
  try {
    const batch = batchOf(policy, rows, experiment.config, B, T)
    const { temporary, outputs, aliased, flops } = run.cost(batch.rows, { numItems: 1 })
    const { m, v, ema, reference } = run.state
    const { trainable, frozen } = policy.weights
    const weights = bytesOf([trainable, frozen])
    const copies = bytesOf([ema ?? [], reference ?? [], compares ? policy.reference.trainable : []])
    const optimizerBytes = bytesOf([m, v])
    const gradients = bytesOf(trainable)
    const activations = Math.max(0, temporary + outputs - aliased - gradients)
    const drawn = T === undefined ? 0 : B * (args['pairs'] === 'on_policy' ? Number(args['num_generations']) / Number(args['pairs_per_prompt']) : Number(args['oversampling'])) // prettier-ignore
    const sampling = cachesOf(policy, drawn, batch.longest)
    const runtime = platform()!.platform === 'cpu' ? RUNTIME : 0
    const total = weights + copies + optimizerBytes + Math.max(gradients + activations, sampling) + runtime
    const memory = { weights, copies, optimizer: optimizerBytes, gradients, activations, sampling, runtime, total }
    const completions = { rows: drawn, tokens: T ?? 0, prompts: drawn / Number(args['num_generations'] ?? 1) }
    const drawing = tokensOf(policy, completions, batch.longest, weights, quantization !== null)
    const updates = Number(args['num_iterations'] ?? 1) // on what was drawn
    const work: StepWork = {
      update: flops,
      updateBytes: 2 * (weights + optimizerBytes) + 2 * gradients,
      sampling: drawing.flops / updates,
      samplingBytes: drawing.bytes / updates,
      type: dtype === 'bfloat16' || args['bf16'] === true ? 'bf16' : 'f32',
    }
    return { memory, work, steps: run.steps }
  } finally {
    run.dispose()
    policy.dispose()
  }
}

/** Six runs grew by 121 to 267 MB more than their other parts (`npm run check:long -- estimates`, 2026-11-22). */
const RUNTIME = 160e6

/** What a method's loss takes, in the shapes of the longest rows.
 * @param B rows of a batch; for DPO, pairs
 * @param T tokens of completions, where they are drawn
 * @returns and how many tokens a row has at most */
function batchOf(
  policy: LanguagePolicy,
  rows: readonly DataRow[],
  { optimizer, args }: ExperimentConfig,
  B: number,
  T?: number,
): { rows: TensorTree; longest: number } {
  const columns = optimizer === 'sft' || T !== undefined ? ['completion'] : ['chosen', 'rejected']
  const few = ['prompt', 'messages', ...columns].flatMap(column => longest(rows, column))
  const given = few.flatMap(row => columns.map(column => ({ row, output: T === undefined ? (row[column] ?? row['messages']) : '' }))) // prettier-ignore
  const encoded = policy.encode(
    given.map(({ row }) => (row['prompt'] ?? []) as Prompt),
    given.map(({ output }) => output as string),
    T === undefined ? (args as EncodeOptions) : {},
  )
  const size = optimizer === 'dpo' ? 2 * B : B
  const whole = mapTensors(encoded, t => tf.fill([size, ...t.shape.slice(1)], 0, t.dtype as 'int32'))
  disposeTree(encoded)
  const drawn = () => tf.fill([size, T!], 0, 'int32')
  const outputs = T === undefined ? whole : { ...whole, completion_ids: drawn(), completion_mask: drawn() }
  const tokens = outputs.prompt_ids.shape[1]! + outputs.completion_ids.shape[1]!
  return { rows: rowsOf(optimizer, outputs, B), longest: tokens }
}

function rowsOf(optimizer: string, outputs: TokenRows, B: number): TensorTree {
  const [each, perToken] = [tf.ones([B]), tf.cast(outputs.completion_mask, 'float32')]
  switch (optimizer) {
    case 'sft':
      return { outputs }
    case 'dpo':
      return { pairs: outputs, pairWeight: each }
    default:
      return { trajectories: { outputs, logProbs: perToken, mask: perToken, finished: each }, advantages: each }
  }
}

/** The rows that are longest in a column, by their characters. */
function longest(rows: readonly DataRow[], column: string): DataRow[] {
  const sized = rows.flatMap(row =>
    row[column] === undefined ? [] : [{ row, size: JSON.stringify(row[column]).length }],
  )
  return sized.sort((a, b) => b.size - a.size).slice(0, 4).map(({ row }) => row) // prettier-ignore
}

/** Keys and values of all layers as the prompts left them and as the loop writes to them, and logits of a token a row. */
function cachesOf({ model }: LanguagePolicy, B: number, length: number): number {
  const keys = model.parameters.find(({ name }) => /k_proj\.weight$/.test(name))!.shape[0]!
  return 4 * B * (2 * 2 * model.layers * length * keys + 4 * model.vocabulary)
}

/** What drawing computes: each prompt is read once for its rows, then all draw token by token, for which all weights are read again.
 * @param longest tokens of a row */
function tokensOf(
  { model }: LanguagePolicy,
  { rows, tokens, prompts }: Record<'rows' | 'tokens' | 'prompts', number>,
  longest: number,
  weights: number,
  quantized: boolean,
) {
  const matrices = model.parameters.filter(
    ({ name, shape }) => shape.length === 2 && !/embed|visual|vision|lm_head/.test(name),
  )
  const layers = matrices.reduce((sum, { shape }) => sum + shape[0]! * shape[1]!, 0)
  const head = model.parameters.find(({ name }) => /embed_tokens/.test(name))!.shape.reduce((a, b) => a * b)
  return {
    flops: 2 * (prompts * (longest - tokens) * layers + rows * tokens * (layers + head)),
    bytes: tokens * (weights + (quantized ? RESTORED * layers : 0)),
  }
}

/** Restoring a weight from 4 bits takes as long as this many bytes of a copy (one run on a CPU, 2026-11-22). */
const RESTORED = 40

const BYTES: Partial<Record<ElementType, number>> = { bf16: 2, f16: 2, u8: 1, s8: 1, pred: 1, s64: 8 }

const bytesOf = (tree: unknown): number => tensorsOf(tree).reduce((sum, t) => sum + t.size * (BYTES[typeOf(t)] ?? 4), 0)
