import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { grpo, resolveGrpoConfig, type GrpoConfig, type GrpoLossType, type Row } from '../../src/optimizers/index.js'
import { weighted, type Reward, type WeightedRewards } from '../../src/rewards/index.js'
import { start } from '../../src/xla/index.js'
import { LettersPolicy } from './lettersPolicy.js'

const prompts = Array.from({ length: 4 }, (_, prompt) => ({ prompt, wanted: 'abca'[prompt]! }))

/** Share of the wanted letter among an answer's letters, and whether it ended. */
const rewards = (): WeightedRewards =>
  weighted({
    wanted: [
      ({ completions, wanted }) =>
        completions.map((c, n) => [...(c as string)].filter(l => l === wanted![n]).length / 3),
      1,
    ],
    ended: [({ completions }) => completions.map(c => ((c as string).endsWith('.') ? 1 : 0)), 0.5],
  })

const args: Partial<GrpoConfig> = {
  per_device_train_batch_size: 32,
  max_steps: 40,
  learning_rate: 0.1,
  lr_scheduler_type: 'constant',
  max_completion_length: 3,
}

/** Everything in a row but the time it took. */
const numbers = (row: Row) => ({ ...row, step_time: 0 })

describe('grpo', function () {
  this.timeout(60_000)
  before(() => start())

  const lossTypes: [GrpoLossType, Partial<GrpoConfig>][] = [
    ['dapo', { beta: 0.01 }],
    ['grpo', { importance_sampling_level: 'sequence' }],
    ['vespo', { top_entropy_quantile: 0.7, entropy_coef: 1e-3, off_policy_mask_threshold: 0.5, num_iterations: 2 }],
    ['reinforce', { baseline: 'batch' }],
    ['reinforce', { baseline: 'moving' }],
  ]
  for (const [loss_type, extra] of lossTypes)
    it(`learns the wanted letters with ${loss_type} ${JSON.stringify(extra)}`, async () => {
      const policy = new LettersPolicy()
      const before = policy.probability(1, 'bb.')
      const run = await grpo(policy, prompts, rewards(), { ...args, ...extra, loss_type }).done()
      assert.equal(run.rows.length, 40)
      assert.ok(before < 0.05 && policy.probability(1, 'bb.') > 0.5, `${before} → ${policy.probability(1, 'bb.')}`)
      assert.ok((run.rows.at(-1)!['reward'] as number) > (run.rows[0]!['reward'] as number) + 0.4)
      policy.dispose()
    })

  it('reports what TRL reports', async () => {
    const policy = new LettersPolicy()
    const { rows } = await grpo(policy, prompts, rewards(), { ...args, max_steps: 2, beta: 0.1 }).done()
    const names = ['step', 'epoch', 'loss', 'grad_norm', 'learning_rate', 'reward', 'reward_std', 'frac_reward_zero_std', 'rewards/wanted/mean', 'rewards/wanted/std', 'kl', 'entropy', 'clip_ratio/low_mean', 'clip_ratio/high_mean', 'clip_ratio/region_mean', 'completions/mean_length', 'completions/min_length', 'completions/max_length', 'completions/clipped_ratio', 'num_tokens', 'step_time'] // prettier-ignore
    for (const row of rows) for (const name of names) assert.equal(typeof row[name], 'number', name)
    const [first, second] = rows as [Row, Row]
    assert.ok(Math.abs(first['kl'] as number) < 1e-6 && (second['kl'] as number) > 1e-6, 'KL starts at 0 and grows')
    assert.ok((first['sampling/sampling_logp_difference/max'] as number) < 1e-5, 'evaluation repeats the sampler')
    assert.equal(first['num_tokens'], Math.round((first['completions/mean_length'] as number) * 32))
    const { reward } = first
    assert.ok(
      Math.abs(
        (reward as number) - (first['rewards/wanted/mean'] as number) - 0.5 * (first['rewards/ended/mean'] as number),
      ) < 1e-6,
    )
    policy.dispose()
  })

  it('accumulates gradients: two half batches are one batch', async () => {
    const policies = [new LettersPolicy(), new LettersPolicy()]
    const [whole, halves] = await Promise.all([
      grpo(policies[0]!, prompts, rewards(), { ...args, max_steps: 3 }).done(),
      grpo(policies[1]!, prompts, rewards(), {
        ...args,
        max_steps: 3,
        per_device_train_batch_size: 16,
        gradient_accumulation_steps: 2,
      }).done(),
    ])
    whole.rows.forEach((row, i) => {
      for (const name of ['loss', 'grad_norm', 'reward', 'num_tokens'])
        assert.ok(Math.abs((row[name] as number) - (halves.rows[i]![name] as number)) < 1e-5, `step ${i} ${name}`)
    })
  })

  it('updates num_iterations times on each batch, the later ones off policy', async () => {
    const policy = new LettersPolicy()
    const { rows } = await grpo(policy, prompts, rewards(), { ...args, max_steps: 4, num_iterations: 2 }).done()
    const difference = rows.map(row => row['sampling/sampling_logp_difference/max'] as number)
    assert.ok(difference[0]! < 1e-5 && difference[1]! > 1e-3 && difference[2]! < 1e-5 && difference[3]! > 1e-3)
    assert.equal(rows[0]!['reward'], rows[1]!['reward'])
  })

  it('leaves truncated completions out when told to', async () => {
    const policy = new LettersPolicy()
    const { rows } = await grpo(policy, prompts, rewards(), {
      ...args,
      max_steps: 1,
      mask_truncated_completions: true,
    }).done()
    const { mean_length, terminated } = {
      mean_length: rows[0]!['completions/mean_length'] as number,
      terminated: rows[0]!['completions/mean_terminated_length'] as number,
    }
    const ended = 32 * (1 - (rows[0]!['completions/clipped_ratio'] as number))
    assert.ok(ended < 32 && mean_length > 0)
    assert.equal(rows[0]!['num_tokens'], Math.round(ended * terminated))
  })

  const preferences = prompts.map(({ prompt, wanted }) => ({ prompt, wanted, chosen: `${wanted}.`, rejected: 'cba' }))
  const paired = {
    ...args,
    completions: 'pairs',
    num_generations: 2,
    per_device_train_batch_size: 8,
    beta: 0.01,
  } as const

  it('learns from pairs by their label, in groups of two', async () => {
    const policy = new LettersPolicy()
    const label = weighted({ label: [({ preferred }) => preferred as number[], 1] })
    const { rows } = await grpo(policy, preferences, label, paired).done()
    const [first, last] = [rows[0]!, rows.at(-1)!]
    assert.equal(first['pairs/reward_accuracy'], 1)
    assert.ok(first['sampling/sampling_logp_difference/max'] as number < 1e-5, 'the policy is its own sampling policy') // prettier-ignore
    const logit = Math.log(3 + Math.exp(-0.5)) // logits 0, 0, 0, −½: chosen has two letters, one of them the full stop, rejected three
    assert.ok(Math.abs(first['pairs/margin'] as number - (logit - 0.5)) < 1e-5, String(first['pairs/margin'])) // prettier-ignore
    assert.equal(first['pairs/margin_accuracy'], 1)
    assert.ok((last['pairs/margin'] as number) > (first['pairs/margin'] as number) + 2)
    assert.ok(policy.probability(1, 'b.') > 10 * policy.probability(1, 'cba'))
  })

  it('learns from pairs by a heuristic, which may disagree with the label', async () => {
    const policy = new LettersPolicy()
    const length = weighted({ length: [({ completions }) => completions.map(c => (c as string).length), 1] })
    const { rows } = await grpo(policy, preferences, length, paired).done()
    assert.equal(rows[0]!['pairs/reward_accuracy'], 0)
    assert.ok((rows.at(-1)!['pairs/margin'] as number) < (rows[0]!['pairs/margin'] as number) - 2)
  })

  it('draws more and trains on the groups whose rewards differ', async () => {
    const rare = weighted({ all: [({ completions }) => completions.map(c => (c === 'aaa' ? 1 : 0)), 1] })
    const config = { ...args, num_generations: 4, per_device_train_batch_size: 8, max_steps: 12 }
    const make = async (oversampling: number) =>
      (await grpo(new LettersPolicy(), prompts, rare, { ...config, oversampling, learning_rate: 0 }).done()).rows
    const [plain, more] = [await make(1), await make(4)]
    const flat = (rows: Row[]) => rows.reduce((sum, row) => sum + (row['frac_reward_zero_std'] as number), 0) / 12
    assert.ok(flat(more) < flat(plain) - 0.15, `${flat(more)}, ${flat(plain)}`)
    for (const row of more) {
      const telling = Math.min(2, 8 * (row['oversampling/frac_telling'] as number))
      assert.ok(Math.abs((row['frac_reward_zero_std'] as number) - (1 - telling / 2)) < 1e-6)
    }
    assert.equal(more[0]!['epoch'], 2)
  })

  it('gives the same numbers for the same seed, others for another', async () => {
    const once = async (seed: number) =>
      (await grpo(new LettersPolicy(), prompts, rewards(), { ...args, max_steps: 5, seed }).done()).rows.map(numbers)
    const [a, b, c] = [await once(7), await once(7), await once(8)]
    assert.deepEqual(a, b)
    assert.notDeepEqual(a, c)
  })

  it('goes on from a state exactly as if it had not stopped', async () => {
    const moving = { ...args, baseline: 'moving', max_steps: 6 } as const
    const whole = await grpo(new LettersPolicy(), prompts, rewards(), moving).done()
    const policy = new LettersPolicy()
    const first = grpo(policy, prompts, rewards(), moving)
    for await (const row of first) if (row.step === 3) break
    const saved = first.state
    const second = await grpo(new LettersPolicy(), prompts, rewards(), moving, saved).done()
    assert.deepEqual(second.rows.map(numbers), whole.rows.slice(3).map(numbers))
  })

  it('goes on after its reward failed or hung exactly as if it had not, and loses no tensor', async () => {
    const whole = await grpo(new LettersPolicy(), prompts, rewards(), { ...args, max_steps: 4 }).done()
    const good = rewards()
    let calls = 0
    const failing: Reward = batch => {
      calls++
      if (calls === 2) throw new Error('offline')
      return calls === 4 ? new Promise(() => {}) : good.score(batch).then(scores => scores[0]!)
    }
    const ended: Reward = batch => good.score(batch).then(scores => scores[1]!)
    const mixed = weighted({ wanted: [failing, 1, { timeout: 0.2 }], ended: [ended, 0.5] })
    const policy = new LettersPolicy()
    const run = grpo(policy, prompts, mixed, { ...args, max_steps: 4 })
    await assert.rejects(run.done(), /reward "wanted" failed on a batch of 32: offline/)
    const tensors = tf.memory().numTensors
    await assert.rejects(run.done(), /reward "wanted" failed .*no scores after 0\.2 s/)
    assert.deepEqual([run.rows.length, tf.memory().numTensors], [2, tensors])
    assert.deepEqual((await run.done()).rows.map(numbers), whole.rows.map(numbers))
  })

  it("takes the names of Qwen-VL's trainers; grpo_alpha scales rewards where they are not normalised", async () => {
    const renamed = { grpo_beta: 0.1, grpo_sample_size: 4, generation_temperature: 0.7, generation_top_p: 0.9, generation_max_length: 3 } // prettier-ignore
    const trl = { beta: 0.1, num_generations: 4, temperature: 0.7, top_p: 0.9, max_completion_length: 3 }
    assert.deepEqual(resolveGrpoConfig(renamed), resolveGrpoConfig(trl))
    assert.throws(() => resolveGrpoConfig({ grpo_beta: 0.1, beta: 0.1 }), /grpo_beta and beta are both given/)
    assert.throws(() => resolveGrpoConfig({ grpo_alpha: 0 }), /grpo_alpha is 0, needs a number in \(0, ∞\)/)
    const norm = async (extra: Partial<GrpoConfig>) => {
      const policy = new LettersPolicy()
      const { rows } = await grpo(policy, prompts, rewards(), { ...args, max_steps: 1, ...extra }).done()
      policy.dispose()
      return rows[0]!['grad_norm'] as number
    }
    const plain = await norm({ scale_rewards: 'none' })
    const close = (found: number, wanted: number) => assert.ok(Math.abs(found - wanted) < 1e-5 * wanted, `${found}, wanted ${wanted}`) // prettier-ignore
    close(await norm({ scale_rewards: 'none', grpo_alpha: 0.5 }), plain / 2)
    close(await norm({ advantage_epsilon: 1e-12, grpo_alpha: 0.5 }), await norm({ advantage_epsilon: 1e-12 }))
  })

  it('logs a change of weights in the row of its step', async () => {
    const mixed = rewards()
    const run = grpo(new LettersPolicy(), prompts, mixed, { ...args, max_steps: 4 })
    for await (const row of run) if (row.step === 2) mixed.setWeights({ ended: 0.25 })
    assert.deepEqual(
      run.rows.map(row => row['weights/ended']),
      [0.5, 0.5, 0.25, 0.25],
    )
    assert.deepEqual(
      run.rows.map(row => row['event']),
      [undefined, undefined, 'weights: ended 0.5 → 0.25', undefined],
    )
  })

  it('leaks no tensor', async () => {
    for (const extra of [{}, { oversampling: 2 }, paired]) {
      const before = tf.memory().numTensors
      const policy = new LettersPolicy()
      const run = grpo(policy, preferences, rewards(), { ...args, max_steps: 30, beta: 0.1, ...extra })
      const counts: number[] = []
      for await (const row of run) if (row.step === 5 || row.step === 30) counts.push(tf.memory().numTensors)
      assert.equal(counts[0], counts[1])
      run.dispose()
      policy.dispose()
      assert.equal(tf.memory().numTensors, before, JSON.stringify(extra))
    }
  })

  it('refuses what does not fit before it draws anything', () => {
    const policy = new LettersPolicy()
    const make = (given: Partial<GrpoConfig>) => () => grpo(policy, prompts, rewards(), given)
    assert.throws(
      make({ per_device_train_batch_size: 12 }),
      /GrpoConfig: batch \(12\) must be divisible by num_generations \(8\).*Use 8 or 16/,
    )
    assert.throws(
      make({ num_generation: 8 } as Partial<GrpoConfig>),
      /unknown key "num_generation". Did you mean "num_generations"/,
    )
    assert.throws(
      make({ learning_rate: '1e-4' as unknown as number }),
      /learning_rate is "1e-4" \(string\), needs a number/,
    )
    assert.throws(make({ lr_scheduler_type: 'cosin' as 'cosine' }), /Did you mean "cosine"/)
    assert.throws(() => grpo(policy, [], rewards(), {}), /the data set is empty/)
    assert.throws(make({ sync_ref_model: true }), /sync_ref_model is set but beta is 0/)
    assert.throws(make({ completions: 'pairs' }), /pairs make groups of two. Use num_generations: 2/)
    assert.throws(make({ ...paired }), /row 0 lacks chosen, rejected/)
  })
})
