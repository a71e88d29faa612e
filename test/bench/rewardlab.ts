/* Our side of the benchmark: measures the case given as JSON in the first argument and prints one line of JSON. A Chrome trace is
 * written to the file that a second argument names. */
import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import { copyFile, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { editScenes } from '../../src/datasets/index.js'
import { TOKENIZER_FILES } from '../../src/io/tokenizer.js'
import { saveMerged } from '../../src/models/index.js'
import { initQwen2, qwen2, type Qwen2Config } from '../../src/models/qwen2.js'
import { gatedMlp, linear, rmsNorm, rotaryAngles, rotate, tokenLogProbs } from '../../src/nn/index.js'
import { adamw, adamwState, type AdamwState } from '../../src/optimizers/adamw.js'
import { dpo, grpo, type Row, type Run } from '../../src/optimizers/index.js'
import { valueAndGrad } from '../../src/optimizers/valueAndGrad.js'
import { loadKontextPolicy, loadPolicy, type LanguagePolicy } from '../../src/policies/index.js'
import { ssim, weighted } from '../../src/rewards/index.js'
import { generate } from '../../src/sampling/index.js'
import {
  astype,
  autocast,
  copy,
  jit,
  packageRoot,
  platform,
  profile,
  random,
  start,
  stats,
  sync,
  type TensorTree,
} from '../../src/xla/index.js'
import { disposeTree, mapTensors, tensorsOf } from '../../src/xla/tree.js'
import type { Case, CaseOf, Kind, Measured, Type } from './cases.js'

type Found = Omit<Measured, 'peakBytes' | 'loadedBytes' | 'versions'>
type Measures = { [K in Kind]: (work: CaseOf<K>) => Found | Promise<Found> }

const ADAMW = { learning_rate: 1e-4, adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.01, max_grad_norm: 1 } // prettier-ignore
const CALLS = 1000

const measures: Measures = {
  async copy({ megabytes, runs }) {
    const source = tf.zeros([megabytes * 2 ** 18])
    const whole = copy(source)
    await sync()
    const again = jit((x: tf.Tensor) => copy(x), { name: 'copy' })
    return { seconds: await timed(runs, async () => disposeTree(await again.async(whole))) }
  },

  async matmul({ size, type, runs }) {
    const square = () => astype(random.normal(random.key(0), [size, size]), type)
    const [a, b] = [square(), square()]
    const product = jit((a: tf.Tensor, b: tf.Tensor) => tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D), { name: 'matmul' }) // prettier-ignore
    return { seconds: await timed(runs, async () => disposeTree(await product.async(a, b))) }
  },

  async call({ runs }) {
    const next = jit((x: tf.Tensor) => tf.add(x, 1), { name: 'tiny' })
    let x = tf.zeros([8])
    const seconds = await timed(runs, async () => {
      for (let i = 0; i < CALLS; i++) {
        const y = next(x)
        x.dispose()
        x = y
      }
      await x.data()
    })
    return { seconds: seconds.map(s => s / CALLS) }
  },

  async chain({ operations, runs }) {
    const [first, one] = [tf.zeros([8]), tf.ones([8])]
    const seconds = await timed(runs, async () => {
      const last = tf.tidy(() => {
        let x: tf.Tensor = first
        for (let i = 0; i < operations; i++) x = tf.add(x, one)
        return x
      })
      await last.data()
      last.dispose()
    })
    return { seconds: seconds.map(s => s / operations) }
  },

  async step({ parameters, size, runs }) {
    const weights = Array.from({ length: parameters }, () => tf.randomNormal([size, size], 0, 1, 'float32', 0))
    const update = jit(
      ({ weights, ...moments }: State<tf.Tensor[]>): State<tf.Tensor[]> => {
        const next = adamw(weights, weights, moments, ADAMW) // the gradient of |w|²/2
        return { weights: next.weights, ...next.state }
      },
      { donate: [0], name: 'step' },
    )
    let state = await update.async({ weights, ...adamwState(weights) })
    const seconds: number[] = []
    for (let i = 0; i <= runs; i++) {
      const began = performance.now()
      state = update(state)
      if (i > 0) seconds.push((performance.now() - began) / 1000)
      await state.step.data()
    }
    return { seconds, note: `${tensorsOf(state).length} tensors in and out` }
  },

  async trace({ layers: L, width: C, heads: H, rows: B, tokens: T, runs }) {
    const matrix = (n: number, m: number) => ({ weight: tf.zeros([n, m]) })
    const norm = () => ({ weight: tf.ones([C]) })
    const layers = Array.from({ length: L }, () => ({
      norm: [norm(), norm()] as const,
      project: Array.from({ length: 4 }, () => matrix(C, C)), // queries, keys, values, output
      mlp: { gate_proj: matrix(4 * C, C), up_proj: matrix(4 * C, C), down_proj: matrix(C, 4 * C) },
    }))
    const x = tf.zeros([B, T, C])
    const rotary = rotaryAngles(tf.expandDims(tf.range(0, T, 1, 'int32'), 0), C / H, 10000)
    const layer = (x: tf.Tensor, { norm: [before, between], project, mlp }: (typeof layers)[number]): tf.Tensor => {
      const normed = rmsNorm(x, before.weight, 1e-6)
      const [q, k, v] = project.map(p => tf.reshape(linear(normed, p), [B, T, H, C / H])) as [
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
      ]
      const [queries, keys] = [q, k].map(x => tf.transpose(rotate(x, rotary), [0, 2, 1, 3])) as [tf.Tensor, tf.Tensor]
      const scores = tf.softmax(tf.matMul(tf.mul(queries, (C / H) ** -0.5), keys, false, true)) // [B, H, T, T]
      const mixed = tf.transpose(tf.matMul(scores, tf.transpose(v, [0, 2, 1, 3])), [0, 2, 1, 3]) // [B, T, H, D]
      const mid = tf.add(x, linear(tf.reshape(mixed, [B, T, C]), project[3]!))
      return tf.add(mid, gatedMlp(rmsNorm(mid, between.weight, 1e-6), mlp))
    }
    const gradients = (weights: typeof layers) =>
      valueAndGrad(weights => ({ value: tf.sum(weights.reduce(layer, x)), aux: {} }), weights).grads
    const lower = () => jit(gradients, { name: 'trace' }).lower(layers)
    const note = `${kernelsOf(lower)} kernels, ${operationsIn(lower())} operations`
    return { seconds: await timed(runs, () => void lower()), note }
  },

  async train({ model: config, rows, tokens, type, runs }) {
    const model = qwen2(config, { gradient_checkpointing: false }) // as the peers
    const weights = await draw(config, type)
    const batch = tf.randomUniform([rows, tokens], 0, config.vocab_size, 'int32', 0)
    const mask = tf.onesLike(batch)
    let state: State<TensorTree> = { weights, ...adamwState(weights) }
    const update = jit(
      ({ weights, ...moments }: State<TensorTree>, input_ids: tf.Tensor, attention_mask: tf.Tensor): [State<TensorTree>, tf.Tensor] => {
        const lossOf = (w: TensorTree) => {
          const hidden = model.hidden(w, { input_ids, attention_mask })
          const logits = model.head(w, tf.slice(hidden, [0, 0, 0], [rows, tokens - 1, -1])) // [B, T−1, V]
          const logProbs = tokenLogProbs(logits, tf.slice(input_ids, [0, 1], [rows, tokens - 1]))
          return { value: tf.neg(tf.mean(logProbs)), aux: {} }
        }
        const gradients = () => valueAndGrad(lossOf, weights)
        const { value, grads } = type === 'autocast' ? autocast('bf16', gradients) : gradients()
        const next = adamw(weights, grads, moments, ADAMW)
        return [{ weights: next.weights, ...next.state }, value]
      },
      { donate: [0], name: 'train' },
    ) // prettier-ignore
    const parameters = countOf(weights)
    const before = { ...stats() }
    const losses: number[] = []
    const seconds = await timed(runs, async () => {
      const [next, loss] = await update.async(state, batch, mask)
      state = next
      losses.push((await loss.data())[0]!)
      loss.dispose()
    })
    return { seconds, parameters, loss: losses[0]!, ...since(before) }
  },

  async edit({ rows, group, steps, window, runs }) {
    const policy = await loadKontextPolicy(join(packageRoot(), 'data/models/tiny-kontext'), {
      gradient_checkpointing: false,
    }) // as the peer
    const data = editScenes({ seed: 1, size: 1000 }).train
    let spent = { sampling: 0, scoring: 0 }
    const clocked = async <T>(part: keyof typeof spent, work: () => T | Promise<T>): Promise<T> => {
      const began = performance.now()
      const done = await work()
      spent[part] = (performance.now() - began) / 1000
      return done
    }
    const sample = policy.sample.bind(policy)
    policy.sample = (...args) => clocked('sampling', () => sample(...args))
    const similarity = ssim()
    const rewards = weighted({ similarity: [batch => clocked('scoring', () => similarity(batch)), 1] })
    const run = grpo(policy, data, rewards, {
      max_steps: runs + 1,
      per_device_train_batch_size: rows,
      num_generations: group,
      learning_rate: 1e-4,
      generation_kwargs: { num_inference_steps: steps, sde_window: [0, window], noise_level: 0.7, shared_noise: true },
    })
    const found: { seconds: number; note: string }[] = []
    for await (const { step_time } of run) {
      const seconds = step_time as number
      const parts = { ...spent, training: seconds - spent.sampling - spent.scoring }
      found.push({ seconds, note: Object.entries(parts).map(([part, s]) => `${part} ${s.toFixed(2)}`).join(', ') }) // prettier-ignore
      spent = { sampling: 0, scoring: 0 }
    }
    const counted = found.slice(1)
    const seconds = counted.map(({ seconds }) => seconds)
    const parameters = tensorsOf(policy.weights.trainable).reduce((n, t) => n + t.size, 0)
    return { seconds, parameters, note: counted[seconds.indexOf(Math.min(...seconds))]!.note }
  },

  async grpo({ model, prompts, generations, prompt, completion, runs }) {
    const rows = Array.from({ length: prompts * (runs + 1) }, (_, i) => ({ prompt: text(i, prompt) }))
    const rewards = weighted({ length: [({ completions }) => completions.map(c => (c as string).length), 1] })
    return trained(model, policy =>
      grpo(policy, rows, rewards, {
        max_steps: runs + 1,
        per_device_train_batch_size: prompts * generations,
        num_generations: generations,
        max_completion_length: completion,
        learning_rate: 1e-5,
      }),
    )
  },

  async dpo({ model, pairs, prompt, completion, runs }) {
    const rows = Array.from({ length: pairs * (runs + 1) }, (_, i) => ({
      prompt: text(i, prompt),
      chosen: text(i + 1, completion - 1), // and the token that ends it
      rejected: text(i + 2, completion - 1),
    }))
    return trained(model, policy =>
      dpo(policy, rows, { max_steps: runs + 1, per_device_train_batch_size: pairs, learning_rate: 1e-5 }),
    )
  },

  async decode({ model: config, rows, prompt, tokens, type, greedy, runs }) {
    const weights = await draw(config, type)
    const input_ids = tf.randomUniform([rows, prompt], 0, config.vocab_size, 'int32', 0)
    const prompts = { input_ids, attention_mask: tf.onesLike(input_ids) }
    const keep = { top_p: tf.scalar(1), top_k: tf.scalar(0, 'int32'), min_p: tf.scalar(0) }
    const draws = { temperature: tf.scalar(1), ...keep, repetition_penalty: tf.scalar(1), key: random.key(1) }
    const plan = { generations: 1, length: tokens, greedy, filtered: false, penalized: false, stop: [-1], pad: 0 }
    const drawing = generate(qwen2(config))
    const before = { ...stats() }
    const seconds = await timed(runs, async () => {
      const drawn = await drawing(weights, prompts, draws, plan)
      assert.ok(
        (await drawn.mask.data<'float32'>()).every(m => m === 1),
        'a row ended early',
      )
      assert.deepEqual(drawn.tokens.shape, [rows, tokens])
      disposeTree(drawn)
    })
    return { seconds, parameters: countOf(weights), ...since(before) }
  },
}

type State<W extends TensorTree> = AdamwState<W> & { weights: W }

/** Steps of a run on a policy that was loaded from a directory, after one that does not count: it compiles. */
async function trained(config: Qwen2Config, run: (policy: LanguagePolicy) => Run): Promise<Found> {
  const policy = await loadPolicy(await directory(config), { gradient_checkpointing: false }) // as the peer
  const parameters = countOf(policy.weights.trainable)
  const before = { ...stats() }
  const rows: Row[] = []
  for await (const row of run(policy)) rows.push(row)
  const seconds = rows.slice(1).map(({ step_time }) => step_time as number)
  return { seconds, parameters, loss: rows[0]!['loss'] as number, ...since(before) }
}

/** A model directory with fresh weights, the shipped model's tokenizer and its special tokens. */
async function directory(config: Qwen2Config): Promise<string> {
  const [from, to] = [join(packageRoot(), 'data/models/tiny-qwen2'), await mkdtemp(join(tmpdir(), 'bench-'))]
  for (const file of TOKENIZER_FILES) if (existsSync(join(from, file))) await copyFile(join(from, file), join(to, file))
  const weights = await draw(config, 'f32')
  await saveMerged(join(to, 'model.safetensors'), weights, qwen2(config))
  disposeTree(weights)
  const ends = { eos_token_id: 511, pad_token_id: 509 }
  await writeFile(
    join(to, 'config.json'),
    JSON.stringify({ model_type: 'qwen2', hidden_act: 'silu', ...config, ...ends }),
  )
  process.on('exit', () => rmSync(to, { recursive: true }))
  return to
}

/** A text of so many tokens. */
const text = (i: number, tokens: number): string => '7Q?~'[i % 4]!.repeat(tokens)

/** Fresh weights in an element type. */
async function draw(config: CaseOf<'train'>['model'], type: Type): Promise<TensorTree> {
  const weights = tf.tidy(
    () =>
      mapTensors(initQwen2(config, random.key(0)), t =>
        astype(t, type === 'bf16' ? 'bf16' : 'f32'),
      ) as unknown as tf.TensorContainer,
  ) as unknown as TensorTree
  await sync()
  return weights
}

/** How many kernels tfjs runs in `f`. */
function kernelsOf(f: () => void): number {
  const engine = tf.engine()
  const { runKernel } = engine
  let count = 0
  engine.runKernel = <T extends tf.Tensor | tf.Tensor[]>(...args: Parameters<typeof runKernel>) => {
    count++
    return runKernel.apply(engine, args) as T
  }
  f()
  engine.runKernel = runKernel
  return count
}

const operationsIn = (text: string): number => text.match(/ = /g)?.length ?? 0

function countOf(weights: TensorTree): number {
  return tensorsOf(weights).reduce((n, t) => n + t.size, 0)
}

/** Seconds of tracing and compiling since an earlier `stats()`. */
function since(before: { traceMs?: number; compileMs?: number }): Pick<Found, 'traceSeconds' | 'compileSeconds'> {
  const now = stats()
  if (!now) return {}
  return {
    traceSeconds: (now.traceMs - before.traceMs!) / 1000,
    compileSeconds: (now.compileMs - before.compileMs!) / 1000,
  }
}

/** Seconds of each run, after one that does not count: it compiles. */
async function timed(runs: number, run: () => void | Promise<void>): Promise<number[]> {
  await run()
  const seconds: number[] = []
  for (let i = 0; i < runs; i++) {
    const began = performance.now()
    await run()
    seconds.push((performance.now() - began) / 1000)
  }
  return seconds
}

await start()
const [json, trace] = process.argv.slice(2)
const work = JSON.parse(json!) as Case
const resident = () => 1024 * process.resourceUsage().maxRSS
const loadedBytes = resident()
let found!: Found
async function measure(): Promise<void> {
  found = await (measures[work.kind] as (work: Case) => Found | Promise<Found>)(work)
}
await (trace ? profile(measure, trace) : measure())
const device = platform()
const runtime = device ? `PJRT ${device.api} (${device.platform})` : `tfjs backend ${tf.getBackend()}`
const measured: Measured = {
  ...found,
  peakBytes: resident(),
  loadedBytes,
  versions: `Node ${process.version}, ${runtime}`,
}
console.log(JSON.stringify(measured))
