import os from 'node:os'
import type { Case, CaseOf, Measured } from './cases.js'

/** Who is measured, in the order of the columns; TensorFlow only where it is set up. */
const SUBJECTS = ['rewardlab', 'PyTorch', 'JAX', 'TRL', 'TensorFlow'] as const
export type Subject = (typeof SUBJECTS)[number]

/** What was found in one case. */
export interface Result {
  work: Case
  measured: Partial<Record<Subject, Measured>>
  failures: string[]
}

/** Signs that subjects did not compute the same: other numbers of weights, another loss in the first step. */
export function differences({ measured }: Result): string[] {
  const LOSS = 0.25 // each draws weights of its own: 500 tokens scatter around ln V + 0.2 by 0.03
  const [reference, ...others] = entries(measured)
  if (!reference) return []
  const [name, { parameters, loss }] = reference
  return others.flatMap(([other, found]) => {
    if (found.parameters !== parameters) return [`${other} has ${found.parameters} weights, ${name} has ${parameters}`]
    if (loss !== undefined && !(Math.abs(found.loss! - loss) <= LOSS))
      return [`the first step's loss is ${found.loss} in ${other}, ${loss} in ${name}`]
    return []
  })
}

/** One case for the terminal. */
export function summary({ work, measured, failures }: Result): string {
  const lines = entries(measured).map(([subject, found]) => {
    const compiled = found.compileSeconds ? `compiled in ${found.compileSeconds.toFixed(1)} s` : ''
    return `  ${subject.padEnd(10)} ${[cell(work, found), `memory ${memory(found)}`, compiled].filter(Boolean).join(', ')}`
  })
  return [`${work.name}: ${described(work)}`, ...lines, ...failures.map(f => `  failed: ${f}`)].join('\n')
}

/** docs/benchmarks.md.
 * @param load the load average before the run
 * @param rounds processes a subject and case */
export function page(results: readonly Result[], load: number, rounds: number): string {
  const subjects = SUBJECTS.filter(s => results.some(({ measured }) => measured[s]))
  const peers = ['PyTorch', 'JAX', 'TRL'] as const
  const versions = new Set(results.flatMap(({ measured }) => Object.values(measured).map(m => m.versions)))
  const table = (columns: string[], rows: string[][]) =>
    [columns, columns.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
  const models = results.filter(({ work }) => 'model' in work)
  const failures = results.flatMap(({ work, failures }) => failures.map(f => `- ${work.name}, ${f.split('\n')[0]}`))
  return `# Benchmarks

Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}: ${os.cpus()[0]!.model}, ${os.availableParallelism()} processors, ${gigabytes(os.totalmem())} of memory;
${[...versions].join('; ')}. Load average before it began: ${load.toFixed(1)}${load > 0.5 ? '; other programs shared the processors, so that all figures are rough' : ''}.

A cell is the best and, in brackets, the median of the runs, which come from ${rounds === 1 ? 'one process' : `${rounds} processes`} a subject, the subjects in turn; the first run of a
process is not counted. Ratios are of best times: below 1 we are faster.

${table(
  ['case', 'what', ...subjects, ...peers.map(peer => `ours / ${peer}`)],
  results.map(({ work, measured }) => [
    work.name,
    described(work),
    ...subjects.map(s => cell(work, measured[s])),
    ...peers.map(peer => ratio(measured.rewardlab, measured[peer])),
  ]),
)}

- Train step: forward, gradient, clipping by the global norm and AdamW; cross-entropy in float32; without gradient checkpointing, as the peers (with it,
  which is the default of \`loadPolicy\`, a step computes each layer once more). In bf16 weights are bf16, moments float32 (PyTorch's are bf16); autocast
  leaves weights in float32 and multiplies in bf16. PyTorch is eager, with transformers' model and the fused optimizer; JAX is one jitted program with a
  donated state.
- Decoding counts reading the prompt; no row ends early. Sampling is from the whole softmax, ours returns the tokens' log-probs too. PyTorch is
  transformers' \`generate\` with its default cache. GB/s: bytes of weights and of the cache so far that a token must read, beside \`copy\` for what the machine can do.
- The GRPO step of a language model is that of \`grpo\` on a model directory: completions drawn, decoded, rewarded by their length, one AdamW update of all weights; the
  DPO step that of \`dpo\`, the reference's scores included. TRL is its GRPOTrainer and DPOTrainer. All in float32, without gradient checkpointing, which is not the
  default of either, and faster; fresh weights, so that hardly a completion ends before its bound.
- The GRPO step of the editor draws pictures by the SDE, decodes them, scores each by SSIM to a target and does one AdamW update of all weights of the transformer, all in float32. PyTorch's is
  eager, with diffusers' pipeline and transformer and SSIM as average pooling. Parts are of the best run.
- The call of a jitted step is timed until it returns, with its inputs ready, while the program runs on.

${[
  'Largest resident memory of the process, in brackets what of it was there when the libraries were loaded:',
  table(
    ['case', ...subjects],
    models.map(({ work, measured }) => [work.name, ...subjects.map(s => memory(measured[s]))]),
  ),
  'Tracing + compiling, once a program and not in the figures above:',
  table(
    ['case', ...subjects],
    models.map(({ work, measured }) => [work.name, ...subjects.map(s => compilation(measured[s]))]),
  ),
  ...(failures.length > 0 ? ['Failed:', failures.join('\n')] : []),
].join('\n\n')}
`
}

function described(work: Case): string {
  switch (work.kind) {
    case 'copy':
      return `${work.megabytes} MiB copied, bytes read and written`
    case 'matmul':
      return `${work.size} × ${work.size}, ${work.type}`
    case 'call':
      return 'a compiled program of one addition, called'
    case 'chain':
      return `one of ${work.operations} additions without jit`
    case 'step':
      return `call of a jitted AdamW step of ${work.parameters} tensors [${work.size}, ${work.size}]`
    case 'trace':
      return `${work.layers} layers forward and backward recorded, without a loop`
    case 'train':
      return `train step, ${layers(work)}, ${work.rows} × ${work.tokens} tokens, ${work.type}`
    case 'decode':
      return `${work.greedy ? 'greedy' : 'sampled'}, ${layers(work)}, ${work.rows} × ${work.tokens} tokens after ${work.prompt}, ${work.type}`
    case 'grpo':
      return `GRPO step, ${layers(work)}, ${work.prompts} × ${work.generations} completions of ${work.completion} tokens after ${work.prompt}, f32`
    case 'dpo':
      return `DPO step, ${layers(work)}, ${work.pairs} pairs of ${work.completion} tokens after ${work.prompt}, f32`
    case 'edit':
      return `GRPO step of tiny-kontext, ${work.rows} pictures in groups of ${work.group}, ${work.steps} denoising steps, ${work.window} of them trained on`
  }
}

const layers = ({ model }: CaseOf<'train' | 'decode' | 'grpo' | 'dpo'>) =>
  `${model.num_hidden_layers} layers ${model.hidden_size} wide, vocabulary ${model.vocab_size}`

function cell(work: Case, found: Measured | undefined): string {
  if (!found) return '–'
  const best = Math.min(...found.seconds)
  const both = (unit: string, show: (s: number) => string) => `${show(best)} (${show(median(found.seconds))}) ${unit}`
  const note = found.note ? `; ${found.note}` : ''
  switch (work.kind) {
    case 'copy':
      return both('GB/s', s => ((2 * work.megabytes * 2 ** 20) / s / 1e9).toFixed(1))
    case 'matmul':
      return both('GFLOP/s', s => ((2 * work.size ** 3) / s / 1e9).toFixed(0))
    case 'call':
    case 'chain':
      return both('µs', s => (1e6 * s).toFixed(1))
    case 'step':
    case 'trace':
      return both('ms', s => (1e3 * s).toPrecision(3)) + note
    case 'train':
    case 'grpo':
    case 'dpo':
    case 'edit':
      return both('s', s => s.toFixed(2)) + note
    case 'decode': {
      const read = (work.tokens * bytesPerToken(work)) / best
      return `${both('tokens/s', s => ((work.rows * work.tokens) / s).toFixed(0))}, ${(read / 1e9).toFixed(1)} GB/s`
    }
  }
}

/** Bytes that a step of decoding has to read: each weight once, and keys and values of the tokens so far, on average. */
export function bytesPerToken({ model, rows, prompt, tokens, type }: CaseOf<'decode'>): number {
  const { hidden_size: C, intermediate_size: I, num_hidden_layers: L, num_attention_heads: H, num_key_value_heads: K, vocab_size: V } = model // prettier-ignore
  const kv = (C / H) * K // width of keys, and of values
  const layer = 2 * C * C + 2 * C * kv + 3 * C * I
  const cache = 2 * L * rows * kv * (prompt + tokens / 2)
  return (type === 'bf16' ? 2 : 4) * (L * layer + V * C + cache)
}

function ratio(ours: Measured | undefined, peer: Measured | undefined): string {
  return ours && peer ? (Math.min(...ours.seconds) / Math.min(...peer.seconds)).toFixed(2) : '–'
}

function compilation(found: Measured | undefined): string {
  if (found?.compileSeconds === undefined) return '–'
  return `${found.traceSeconds!.toFixed(2)} + ${found.compileSeconds.toFixed(1)} s`
}

function memory(found: Measured | undefined): string {
  return found ? `${gigabytes(found.peakBytes)} (${gigabytes(found.loadedBytes)})` : '–'
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`
const entries = (measured: Result['measured']) =>
  SUBJECTS.flatMap(s => (measured[s] ? [[s, measured[s]] as const] : []))
