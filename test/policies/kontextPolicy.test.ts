import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { editScenes, rng, type RgbImage } from '../../src/datasets/index.js'
import { dpo, grpo } from '../../src/optimizers/index.js'
import {
  loadKontextPolicy,
  type FlowRows,
  type FlowSampleOptions,
  type KontextPolicy,
  type Trajectories,
  type Weights,
} from '../../src/policies/index.js'
import { editVerified, preservation, weighted, type Reward } from '../../src/rewards/index.js'
import { disposeTree, jit, packageRoot, random, start, tensorsOf, type TensorTree } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'

const SIDE = 16
const numbers = async (t: tf.Tensor) => Array.from(await t.data())
const apart = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))

function picture(seed: number, width = SIDE, height = SIDE): RgbImage {
  const draw = rng(seed)
  return { width, height, data: Uint8ClampedArray.from({ length: width * height * 3 }, () => draw.int(256)) }
}

describe('KontextPolicy', function () {
  this.timeout(60_000)
  let policy: KontextPolicy
  const prompts = [
    { image: picture(1), prompt: 'a red circle' },
    { image: picture(2), prompt: 'remove it' },
  ]
  const options = { num_generations: 3, num_inference_steps: 4, guidance_scale: 2.5, seed: 5 }
  before(async () => {
    await start()
    policy = await loadKontextPolicy(fixture('kontext'), { max_sequence_length: 16 })
  })
  after(() => policy.dispose())

  const evaluate = jit((weights: Weights, trajectories: Trajectories) => {
    const { logProbs } = policy.evaluate(weights, trajectories)
    return { logProbs }
  })

  for (const given of [
    { sde_type: 'sde' },
    { sde_type: 'cps', noise_level: 0.9 },
    { sde_type: 'sde', sde_window: [1, 3], shared_noise: true },
  ] satisfies Partial<FlowSampleOptions>[])
    it(`evaluates the log-probabilities that it drew with: ${JSON.stringify(given)}`, async () => {
      const { outputs, trajectories } = await policy.sample(prompts, { ...options, ...given })
      const S = 'sde_window' in given ? 2 : given.sde_type === 'cps' ? 3 : 4
      assert.equal(outputs.length, 6)
      for (const { width, height } of outputs) assert.deepEqual([width, height], [SIDE, SIDE])
      assert.deepEqual(trajectories.logProbs.shape, [6, S])
      assert.deepEqual(await numbers(trajectories.mask), Array(6 * S).fill(1))
      for (const t of tensorsOf(trajectories.outputs)) assert.equal(t.shape[0], 6)
      const { logProbs } = evaluate(policy.weights, trajectories)
      assert.ok(apart(await numbers(logProbs), await numbers(trajectories.logProbs)) < 2e-5)

      const rows = trajectories.outputs as FlowRows
      const first = await numbers((rows[given.sde_type] as { x: tf.Tensor }).x)
      const size = first.length / (6 * S)
      const startOf = (row: number) => first.slice(row * S * size, row * S * size + size)
      if ('shared_noise' in given) assert.ok(apart(startOf(0), startOf(1)) < 1e-6, 'generations start together')
      assert.ok(apart(startOf(0), startOf(3)) > 0.1, 'prompts start apart')
      if (given.sde_window === undefined) assert.ok(apart(startOf(0), startOf(1)) > 0.1)
      disposeTree([trajectories.outputs, trajectories.logProbs, trajectories.mask, trajectories.finished, logProbs])
    })

  it('draws the same for a seed, and near the ODE where steps are hardly random', async () => {
    const latents = async (given: Partial<FlowSampleOptions>) => {
      const { trajectories } = await policy.sample(prompts, { ...options, ...given })
      return numbers((trajectories.outputs as FlowRows).latents)
    }
    const ode = await latents({ greedy: true })
    assert.deepEqual(await latents({ greedy: true }), ode)
    assert.ok(apart(await latents({ greedy: true, seed: 6 }), ode) > 0.1)
    assert.ok(apart(await latents({ noise_level: 1e-4 }), ode) < 1e-2)
    assert.ok(apart(await latents({ noise_level: 0.7 }), ode) > 0.1)
  })

  it('has gradients of log-probabilities and scores that agree with finite differences', async () => {
    const { trajectories } = await policy.sample(prompts, { ...options, sde_window: [0, 2] })
    const outputs = await policy.encode(prompts, [picture(3), picture(4)])
    const key = random.key(9)
    const weights = policy.weights.trainable as Record<string, TensorTree>
    const of = (bias: tf.Tensor) => ({
      trainable: { ...weights, proj_out: { ...(weights['proj_out'] as object), bias } } as TensorTree,
      frozen: {},
    })
    const bias = (weights['proj_out'] as { bias: tf.Tensor }).bias
    const losses: ((bias: tf.Tensor) => tf.Scalar)[] = [
      bias => tf.sum(policy.evaluate(of(bias), trajectories).logProbs),
      bias => tf.sum(policy.score(of(bias), outputs, key).score),
    ]
    const bumped = (t: tf.Tensor, by: number) =>
      tf.add(t, tf.mul(tf.cast(tf.equal(tf.range(0, t.shape[0]), 1), 'float32'), by))
    for (const f of losses) {
      const [loss, gradient] = [jit(f), jit(tf.grad(f))]
      const slope = (await numbers(gradient(bias)))[1]!
      const [above, below] = [await numbers(loss(bumped(bias, 0.02))), await numbers(loss(bumped(bias, -0.02)))]
      const difference = (above[0]! - below[0]!) / 0.04
      assert.ok(
        Math.abs(difference - slope) < 5e-3 * Math.max(1, Math.abs(slope)),
        `${slope}, differences say ${difference}`,
      )
    }
  })

  it('scores both sides of a pair with the same draws', async () => {
    const outputs = await policy.encode(prompts, [picture(3), picture(4)])
    const program = jit((weights: Weights, key: tf.Tensor) => policy.score(weights, outputs, key).score)
    const score = async (seed: number) => numbers(program(policy.weights, random.key(seed)))
    assert.deepEqual(await score(1), await score(1))
    assert.notDeepEqual(await score(1), await score(2))
    for (const x of await score(1)) assert.ok(x < 0)
    const twice = await policy.encode([prompts[0]!, prompts[0]!], [picture(3), picture(3)])
    const scored = async (group: number) => numbers(policy.score(policy.weights, twice, random.key(1), { group }).score)
    const [[a, b], [c, d]] = [await scored(2), await scored(1)]
    assert.ok(Math.abs(a! - b!) < 1e-6 && Math.abs(c! - d!) > 1e-6, `${a} ${b}, alone ${c} ${d}`)
  })

  const args = {
    max_steps: 3,
    per_device_train_batch_size: 6,
    num_generations: 3,
    learning_rate: 1e-3,
    generation_kwargs: { num_inference_steps: 3, sde_window: [0, 2] },
    seed: 1,
  }
  const brightness = () =>
    weighted({ bright: [({ completions }) => (completions as RgbImage[]).map(({ data }) => data.reduce((a, b) => a + b, 0) / data.length / 255), 1] }) // prettier-ignore
  const rows = prompts.map(prompt => ({ prompt }))

  it('is trained by GRPO and by DPO as a language policy is, forks apart, without leaks', async () => {
    const before = await numbers(tensorsOf(policy.weights.trainable)[0]!)
    const runs = [
      (p: KontextPolicy) => grpo(p, rows, brightness(), { ...args, beta: 0.1, flow_guard: true, num_iterations: 2 }),

      (p: KontextPolicy) => dpo(p, rows, { ...args, per_device_train_batch_size: 2, pairs: 'on_policy', rewards: brightness(), pairs_per_prompt: 1, beta: 1 }), // prettier-ignore
    ]
    for (const begin of runs) {
      const fork = policy.fork()
      const run = begin(fork)
      const counts: number[] = []
      for await (const row of run) {
        assert.ok(Number.isFinite(row['loss']) && (row['grad_norm'] as number) > 0, JSON.stringify(row))
        counts.push(tf.memory().numTensors)
      }
      assert.equal(run.rows.length, 3)
      assert.equal(counts[2], counts[1], 'tensors leak')
      assert.ok(apart(await numbers(tensorsOf(fork.weights.trainable)[0]!), before) > 0)
      run.dispose()
      fork.dispose()
    }
    assert.deepEqual(await numbers(tensorsOf(policy.weights.trainable)[0]!), before)
  })

  it('trains an adapter on frozen 4-bit weights, and saves it so that it loads again', async () => {
    const adapter = { r: 4, lora_alpha: 8 }
    const small = await loadKontextPolicy(fixture('kontext'), { adapter, quantization: 'nf4', max_sequence_length: 16 })
    const frozen = tensorsOf(small.weights.frozen)
    for await (const row of grpo(small, rows, brightness(), { ...args, beta: 0.1 }))
      assert.ok((row['grad_norm'] as number) > 0 && Number.isFinite(row['kl']))
    assert.deepEqual(tensorsOf(small.weights.frozen), frozen)
    const dir = await mkdtemp(join(tmpdir(), 'adapter-'))
    await small.save(dir)
    const again = await loadKontextPolicy(fixture('kontext'), {
      adapter: dir,
      quantization: 'nf4',
      max_sequence_length: 16,
    })
    await rm(dir, { recursive: true })
    const latents = async (policy: KontextPolicy) => {
      const { trajectories } = await policy.sample(prompts, { ...options, greedy: true })
      return numbers((trajectories.outputs as FlowRows).latents)
    }
    assert.ok(apart(await latents(again), await latents(small)) < 1e-6)
    small.dispose()
    again.dispose()
  })

  it('draws the same from texts that it keeps without their encoders', async () => {
    const latents = async (policy: KontextPolicy) => {
      const { trajectories } = await policy.sample(prompts, { ...options, greedy: true })
      return numbers((trajectories.outputs as FlowRows).latents)
    }
    const other = await loadKontextPolicy(fixture('kontext'), { max_sequence_length: 16 })
    await other.keepTexts(prompts.map(({ prompt }) => prompt))
    assert.ok(apart(await latents(other), await latents(policy)) < 1e-5)
    const strange = [{ ...prompts[0]!, prompt: 'add a square' }]
    await assert.rejects(other.sample(strange, options), /"add a square" was not among the texts of keepTexts/)
    other.dispose()
  })

  it('saves a whole pipeline that loads again', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'pipeline-'))
    await policy.save(dir)
    const again = await loadKontextPolicy(dir, { max_sequence_length: 16 })
    await rm(dir, { recursive: true })
    for (const [i, t] of tensorsOf(again.weights.trainable).entries())
      assert.deepEqual(await numbers(t), await numbers(tensorsOf(policy.weights.trainable)[i]!))
    again.dispose()
  })

  it('says what is wrong', async () => {
    const sample = (given: Partial<FlowSampleOptions>, image = picture(1)) =>
      policy.sample([{ image, prompt: 'x' }], { ...options, ...given })
    await assert.rejects(sample({ temperature: 0.5 }), /temperature is 0.5, which an image model does not have/)
    await assert.rejects(sample({ sde_window: [2, 9] }), /sde_window is \[2, 9\], needed 0 ≤ from < to ≤ 4/)
    await assert.rejects(sample({ noise_level: 0 }), /noise_level is 0/)
    await assert.rejects(sample({}, picture(1, 15, 16)), /15 × 16, needed sides that are multiples of/)
    await assert.rejects(policy.sample([], options), /found no prompts/)
    await assert.rejects(policy.encode(prompts, []), /0 pictures for 2 prompts/)
  })
})

describe('data/models/tiny-kontext', function () {
  this.timeout(60_000)

  it('does about a third of the edits, and preserves pictures', async () => {
    await start()
    const policy = await loadKontextPolicy(join(packageRoot(), 'data/models/tiny-kontext'))
    const rows = editScenes({ seed: 1, size: 1000 }).test
    const prompts = rows.map(row => row.prompt)
    const { outputs, trajectories } = await policy.sample(prompts, { num_inference_steps: 6, greedy: true, seed: 1 })
    const column = <K extends keyof (typeof rows)[0]>(name: K) => rows.map(row => row[name])
    const columns = {
      source: column('source'),
      expected: column('expected'),
      image: column('image'),
      mask: column('mask'),
    }
    const mean = async (reward: Reward) => {
      const scores = (await reward({ prompts, completions: outputs, ...columns })).flatMap(score => score ?? [])
      return scores.reduce((a, b) => a + b, 0) / scores.length
    }
    const verified = await mean(editVerified())
    assert.ok(verified > 0.2 && verified < 0.45, `verified: ${verified}`)
    assert.ok((await mean(preservation())) > 0.85)
    disposeTree([trajectories.outputs, trajectories.logProbs, trajectories.mask, trajectories.finished])
    policy.dispose()
  })
})
