/* Time of a train step and of sampling, in float32: the shipped tiny model's shape, and six layers of Qwen2-0.5B's shape under a
 * small vocabulary, so that the layers are what is measured. With REWARDLAB_REFERENCE_PYTHON, a Python that has torch and
 * transformers, the same is timed there. Writes docs/benchmarks/engine.md. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import { format, resolveConfig } from 'prettier'
import { initQwen2, qwen2, type Qwen2Config } from '../../src/models/qwen2.js'
import { tokenLogProbs } from '../../src/nn/index.js'
import { adamw, adamwState, type AdamwState } from '../../src/optimizers/adamw.js'
import { valueAndGrad } from '../../src/optimizers/valueAndGrad.js'
import { generate } from '../../src/sampling/index.js'
import { disposeTree, jit, packageRoot, platform, random, start, stats, type TensorTree } from '../../src/xla/index.js'

interface Workload {
  name: string
  config: Qwen2Config
  train: { rows: number; tokens: number }
  sample: { rows: number; prompt: number; tokens: number }
  runs: number
}

interface Time {
  /** Seconds. */
  wall: number
  cpu: number
}
type Times = Record<'train' | 'sample', Time[]>

const shared = { max_position_embeddings: 512, rms_norm_eps: 1e-6, rope_theta: 10000, tie_word_embeddings: true, initializer_range: 0.02 } // prettier-ignore
const WORKLOADS: Workload[] = [
  {
    name: 'tiny-qwen2 (0.66 M)',
    config: { ...shared, vocab_size: 512, hidden_size: 128, intermediate_size: 384, num_hidden_layers: 3, num_attention_heads: 4, num_key_value_heads: 2 }, // prettier-ignore
    train: { rows: 32, tokens: 64 },
    sample: { rows: 64, prompt: 32, tokens: 24 },
    runs: 10,
  },
  {
    name: '6 layers of Qwen2-0.5B (90 M)',
    config: { ...shared, vocab_size: 1024, hidden_size: 896, intermediate_size: 4864, num_hidden_layers: 6, num_attention_heads: 14, num_key_value_heads: 2 }, // prettier-ignore
    train: { rows: 2, tokens: 256 },
    sample: { rows: 8, prompt: 64, tokens: 32 },
    runs: 4,
  },
]

await start()
const load = os.loadavg()[0]!
const ours: (Times & { compileSeconds: number })[] = []
for (const work of WORKLOADS) ours.push(await measure(work))
const reference = await measureReference()
const lines = WORKLOADS.flatMap((work, i) =>
  (['train', 'sample'] as const).map(kind => {
    const [found, other] = [fastest(ours[i]![kind]), reference && fastest(reference.results[i]![kind])]
    const shape = Object.entries(work[kind]).map(([name, n]) => `${n} ${name}`).join(', ') // prettier-ignore
    const cells = [kind, work.name, shape, shown(found), other ? shown(other) : '–', other ? (found.wall / other.wall).toFixed(2) : '–'] // prettier-ignore
    return `| ${cells.join(' | ')} |`
  }),
)
const page = join(packageRoot(), 'docs/benchmarks/engine.md')
await writeFile(page, await format(report(), { ...(await resolveConfig(page)), parser: 'markdown' }))
console.log(
  `bench: ${WORKLOADS.map((work, i) => `${work.name}: step ${shown(fastest(ours[i]!.train))}, sampling ${shown(fastest(ours[i]!.sample))}`).join('; ')} (wall / CPU)`,
)

function report(): string {
  const device = platform()
  return `# Train step and sampling

Written by \`npm run check:long -- bench\` on ${new Date().toISOString().slice(0, 10)}: ${os.cpus()[0]!.model}, ${os.availableParallelism()} processors,
${device ? `${device.devices.length} × ${device.platform} through PJRT ${device.api}` : tf.getBackend()}, Node ${process.version}; ${reference?.versions ?? 'no reference'}.
Load average before it began: ${load.toFixed(1)}${load > 0.5 ? '; other programs shared the processors, so that all figures are upper bounds and the ratio is rough' : ''}.

float32; the fastest of ${WORKLOADS.map(work => work.runs).join(' and ')} runs after one that is not counted; wall time / CPU time of all threads. Seconds of compilation are not
counted: ${ours.map(o => o.compileSeconds.toFixed(1)).join(' and ')}. Ours computes each layer once more in the gradient (less memory, a third more arithmetic), PyTorch does not;
both clip gradients and use AdamW. Sampling: with a key-value cache, from the whole softmax; PyTorch through transformers' \`generate\`.

| what | model | shape | rewardlab | PyTorch | wall, ours / theirs |
| --- | --- | --- | --- | --- | --- |
${lines.join('\n')}
`
}

async function measure(work: Workload): Promise<Times & { compileSeconds: number }> {
  const compiledBefore = stats()?.compileMs ?? 0
  const model = qwen2(work.config)
  const weights = initQwen2(work.config, random.key(0))
  const ids = ({ rows, tokens }: { rows: number; tokens: number }) =>
    tf.randomUniform([rows, tokens], 0, work.config.vocab_size, 'int32', 0)

  const prompts = { input_ids: ids({ rows: work.sample.rows, tokens: work.sample.prompt }), attention_mask: tf.ones([work.sample.rows, work.sample.prompt], 'int32') } // prettier-ignore
  const draw = { temperature: tf.scalar(1), top_p: tf.scalar(1), top_k: tf.scalar(0, 'int32'), key: random.key(1) }
  const plan = { generations: 1, length: work.sample.tokens, greedy: false, filtered: false, stop: [-1], pad: 0 }
  const drawing = generate(model)
  const sample = await timed(work.runs, async () => {
    const drawn = await drawing(weights, prompts, draw, plan)
    await drawn.tokens.data()
    disposeTree(drawn)
  })

  const batch = ids(work.train)
  const mask = tf.onesLike(batch)
  const [b, t] = [work.train.rows, work.train.tokens]
  type State = AdamwState<TensorTree> & { weights: TensorTree }
  let state: State = { weights, ...adamwState(weights) }
  const update = jit(
    ({ weights, ...moments }: State, input_ids: tf.Tensor, attention_mask: tf.Tensor): [State, tf.Tensor] => {
      const { value, grads } = valueAndGrad(w => {
        const hidden = model.hidden(w, { input_ids, attention_mask })
        const logits = model.head(w, tf.slice(hidden, [0, 0, 0], [b, t - 1, -1])) // [B, T−1, V]
        const logProbs = tokenLogProbs(logits, tf.slice(input_ids, [0, 1], [b, t - 1]))
        return { value: tf.neg(tf.mean(logProbs)), aux: {} }
      }, weights)
      const config = { learning_rate: 1e-4, adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.01, max_grad_norm: 1 } // prettier-ignore
      const next = adamw(weights, grads, moments, config)
      return [{ weights: next.weights, ...next.state }, value]
    },
    { donate: [0], name: 'bench' },
  )
  const train = await timed(work.runs, async () => {
    const [next, loss] = await update.async(state, batch, mask)
    state = next
    assert.ok(Number.isFinite((await loss.data())[0]))
    loss.dispose()
  })
  disposeTree([state, batch, mask, prompts, draw])
  return { train, sample, compileSeconds: ((stats()?.compileMs ?? 0) - compiledBefore) / 1000 }
}

async function timed(runs: number, run: () => Promise<void>): Promise<Time[]> {
  await run() // compiles
  const times: Time[] = []
  for (let i = 0; i < runs; i++) {
    const [began, cpu] = [performance.now(), process.cpuUsage()]
    await run()
    const { user, system } = process.cpuUsage(cpu)
    times.push({ wall: (performance.now() - began) / 1000, cpu: (user + system) / 1e6 })
  }
  return times
}

async function measureReference(): Promise<{ versions: string; results: Times[] } | undefined> {
  const python = process.env.REWARDLAB_REFERENCE_PYTHON
  if (!python) return undefined
  const script = join(packageRoot(), 'test/long/bench_reference.py')
  const { stdout } = await promisify(execFile)(python, [script, JSON.stringify(WORKLOADS)])
  return JSON.parse(stdout) as { versions: string; results: Times[] }
}

/** The run that other programs disturbed least. */
function fastest(times: readonly Time[]): Time {
  return times.reduce((best, t) => (t.wall < best.wall ? t : best))
}

function shown({ wall, cpu }: Time): string {
  const seconds = (x: number) => (x < 1 ? `${(1000 * x).toPrecision(3)} ms` : `${x.toFixed(2)} s`)
  return `${seconds(wall)} / ${seconds(cpu)}`
}
