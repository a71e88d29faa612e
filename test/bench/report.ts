import os from 'node:os'
import type { Case, CaseOf, Measured } from './cases.js'

/** What was found in one case, by subject. */
export interface Result {
  work: Case
  measured: Record<string, Measured>
  failures: string[]
}

const SUBJECTS = ['rewardlab', 'PyTorch', 'JAX']

/** One case for the terminal. */
export function summary({ work, measured, failures }: Result): string {
  const lines = Object.entries(measured).map(([subject, found]) => {
    const memory = `peak ${gigabytes(found.peakBytes)}`
    const compiled = found.compileSeconds ? `compiled in ${found.compileSeconds.toFixed(1)} s` : ''
    return `  ${subject.padEnd(10)} ${[cell(work, found), memory, compiled, found.note].filter(Boolean).join(', ')}`
  })
  return [`${work.name} (${described(work)})`, ...lines, ...failures.map(f => `  failed: ${f}`)].join('\n')
}

/** docs/benchmarks.md. @param load the load average before the run */
export function page(results: readonly Result[], load: number): string {
  const versions = new Set(results.flatMap(({ measured }) => Object.values(measured).map(m => m.versions)))
  const cores = os.availableParallelism()
  const speed = results.map(({ work, measured }) =>
    row(work.name, described(work), ...SUBJECTS.map(s => cell(work, measured[s])), ratio(measured)),
  )
  const memory = results
    .filter(({ work }) => work.kind === 'train' || work.kind === 'decode')
    .map(({ work, measured }) =>
      row(work.name, ...SUBJECTS.map(s => (measured[s] ? gigabytes(measured[s].peakBytes) : '–'))),
    )
  const compiled = results
    .filter(({ measured }) => measured['rewardlab']?.compileSeconds)
    .map(({ work, measured }) => row(work.name, ...SUBJECTS.map(s => compilation(measured[s]))))
  return `# Benchmarks

Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}: ${os.cpus()[0]!.model}, ${cores} processors, ${gigabytes(os.totalmem())} of memory;
${[...versions].join('; ')}. Load average before it began: ${load.toFixed(1)}${load > 0.5 ? '; other programs shared the processors, so that all figures are rough' : ''}.

Each case runs in a process of its own, the subjects in turn. A cell is the best and, in brackets, the median of all runs.

| case | what | ${SUBJECTS.join(' | ')} | ours / best peer |
| --- | --- | --- | --- | --- | --- |
${speed.join('\n')}

## Largest resident memory of the process

| case | ${SUBJECTS.join(' | ')} |
| --- | --- | --- | --- |
${memory.join('\n')}

## Tracing and compiling, once

| case | ${SUBJECTS.join(' | ')} |
| --- | --- | --- | --- |
${compiled.join('\n')}
`
}

function described(work: Case): string {
  switch (work.kind) {
    case 'copy':
      return `${work.megabytes} MB copied; bytes read and written`
    case 'matmul':
      return `${work.size} × ${work.size}, ${work.type}`
    case 'call':
      return 'a compiled program of one addition, called'
    case 'chain':
      return `${work.operations} additions without jit, each`
    case 'step':
      return `AdamW on ${work.parameters} tensors [${work.size}, ${work.size}]: until the jitted call returns`
    case 'trace':
      return `forward and backward of ${work.layers} layers recorded, without a loop`
    case 'train':
      return `AdamW step, ${layersOf(work)}, ${work.rows} × ${work.tokens} tokens, ${work.type}`
    case 'decode':
      return `${work.greedy ? 'greedy' : 'sampled'}, ${layersOf(work)}, ${work.rows} × ${work.tokens} tokens after ${work.prompt}, ${work.type}`
  }
}

const layersOf = ({ model }: CaseOf<'train' | 'decode'>) =>
  `${model.num_hidden_layers} layers ${model.hidden_size} wide, vocabulary ${model.vocab_size}`

function cell(work: Case, found: Measured | undefined): string {
  if (!found) return '–'
  const best = Math.min(...found.seconds)
  const both = (show: (seconds: number) => string, unit: string) =>
    `${show(best)} (${show(median(found.seconds))}) ${unit}`
  switch (work.kind) {
    case 'copy':
      return both(s => ((2 * work.megabytes * 2 ** 20) / s / 1e9).toFixed(1), 'GB/s')
    case 'matmul':
      return both(s => ((2 * work.size ** 3) / s / 1e9).toFixed(0), 'GFLOP/s')
    case 'call':
    case 'chain':
    case 'step':
      return both(s => (1e6 * s).toPrecision(3), 'µs')
    case 'trace':
      return both(s => (1e3 * s).toFixed(0), 'ms')
    case 'train':
      return both(s => s.toFixed(2), 's')
    case 'decode': {
      const bytes = work.tokens * bytesPerStep(work)
      return `${both(s => ((work.rows * work.tokens) / s).toFixed(0), 'tokens/s')}, ${(bytes / best / 1e9).toFixed(1)} GB/s`
    }
  }
}

/** Bytes that a step of decoding has to read: each weight once, and the keys and values of the tokens so far, on average. */
export function bytesPerStep({ model, rows, prompt, tokens, type }: CaseOf<'decode'>): number {
  const { hidden_size: C, intermediate_size: I, num_hidden_layers: L, num_attention_heads: H, num_key_value_heads: K, vocab_size: V } = model // prettier-ignore
  const kv = (C / H) * K
  const layer = 2 * C * C + 2 * C * kv + 3 * C * I
  const cache = 2 * L * rows * kv * (prompt + tokens / 2)
  return (type === 'bf16' ? 2 : 4) * (L * layer + V * C + cache)
}

function ratio({ rewardlab, ...peers }: Record<string, Measured>): string {
  const best = Math.min(...Object.values(peers).flatMap(({ seconds }) => seconds))
  return rewardlab && Number.isFinite(best) ? (Math.min(...rewardlab.seconds) / best).toFixed(2) : '–'
}

function compilation(found: Measured | undefined): string {
  if (found?.compileSeconds === undefined) return '–'
  return `${found.traceSeconds!.toFixed(2)} + ${found.compileSeconds.toFixed(1)} s`
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`
const row = (...cells: string[]) => `| ${cells.join(' | ')} |`
