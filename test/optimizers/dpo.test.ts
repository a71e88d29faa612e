import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { dpo, type DpoConfig, type Row } from '../../src/optimizers/index.js'
import { rankedPairs } from '../../src/optimizers/dpo.js'
import { weighted } from '../../src/rewards/index.js'
import type { Weights } from '../../src/policies/policy.js'
import { start, tensorsOf, type TensorTree } from '../../src/xla/index.js'
import { LettersPolicy } from './lettersPolicy.js'

const pairs = Array.from({ length: 4 }, (_, prompt) => ({ prompt, chosen: 'ab.', rejected: 'ba.' }))
const rewards = weighted({
  a: [({ completions }) => completions.map(c => [...(c as string)].filter(l => l === 'a').length), 1],
})

const args: Partial<DpoConfig> = {
  per_device_train_batch_size: 4,
  max_steps: 40,
  learning_rate: 0.1,
  lr_scheduler_type: 'constant',
}
const onPolicy: Partial<DpoConfig> = {
  ...args,
  per_device_train_batch_size: 8,
  pairs: 'on_policy',
  rewards,
  max_completion_length: 3,
}

describe('dpo', function () {
  this.timeout(60_000)
  before(() => start())

  it('learns from a data set of pairs', async () => {
    const policy = new LettersPolicy()
    const { rows } = await dpo(policy, pairs, args).done()
    assert.ok(Math.abs((rows[0]!['loss'] as number) - Math.log(2)) < 1e-6, 'at the reference every margin is 0')
    assert.equal(rows[0]!['rewards/accuracies'], 0)
    assert.equal(rows.at(-1)!['rewards/accuracies'], 1)
    assert.ok(policy.probability(2, 'ab.') > 100 * policy.probability(2, 'ba.'))
    assert.ok((rows.at(-1)!['loss'] as number) < 0.4)
    assert.equal(rows[1]!['num_tokens'], 2 * 4 * (3 + 3))
  })

  it('an added sft term keeps the chosen answer likely', async () => {
    const [plain, anchored] = [new LettersPolicy(), new LettersPolicy()]
    await dpo(plain, pairs, args).done()
    await dpo(anchored, pairs, { ...args, loss_type: ['sigmoid', 'sft'], loss_weights: [1, 1] }).done()
    assert.ok(anchored.probability(0, 'ab.') > plain.probability(0, 'ab.') + 0.1)
  })

  it('scores the reference once when told to, and comes to the same', async () => {
    const config = { ...args, max_steps: 6, shuffle: true, num_train_epochs: 2, per_device_train_batch_size: 2 }
    const numbers = (rows: Row[]) => rows.map(row => ({ ...row, step_time: 0 }))
    const [each, once] = [new LettersPolicy(), new LettersPolicy()]
    const expected = await dpo(each, pairs, config).done()
    const run = await dpo(once, pairs, { ...config, precompute_ref_log_probs: true }).done()
    assert.deepEqual(numbers(run.rows), numbers(expected.rows))
    const drawing = new LettersPolicy()
    const score = drawing.score.bind(drawing)
    drawing.score = (weights: Weights, outputs: TensorTree, key?: tf.Tensor) => {
      const { score: exact, length } = score(weights, outputs)
      return { score: tf.add(exact, tf.cast(tf.sum(key!), 'float32')), length }
    }
    const random = dpo(drawing, pairs, { ...config, precompute_ref_log_probs: true })
    await assert.rejects(random.done(), /this policy draws its scores at random/)
  })

  it('moves the reference towards the weights every few steps, and goes on from a state', async () => {
    const config = { ...args, max_steps: 6, sync_ref_model: true, ref_model_sync_steps: 2, ref_model_mixup_alpha: 0.25 }
    const run = dpo(new LettersPolicy(), pairs, config)
    let reference = Array.from(tensorsOf(run.state.reference!)[0]!.dataSync())
    for await (const { step } of run) {
      const weights = tensorsOf(run.state.trainable)[0]!.dataSync()
      if (step % 2 === 0) reference = reference.map((r, i) => r + 0.25 * (weights[i]! - r))
      const found = tensorsOf(run.state.reference!)[0]!.dataSync()
      found.forEach((x, i) =>
        assert.ok(Math.abs(x - reference[i]!) < 1e-6, `step ${step}: ${x}, wanted ${reference[i]}`),
      )
    }
    const first = dpo(new LettersPolicy(), pairs, config)
    for await (const row of first) if (row.step === 3) break
    const second = await dpo(new LettersPolicy(), pairs, config, first.state).done()
    assert.deepEqual(second.rows.map(row => row['loss']), run.rows.slice(3).map(row => row['loss'])) // prettier-ignore
  })

  it('learns from pairs that it draws itself, best against worst', async () => {
    const policy = new LettersPolicy()
    const { rows } = await dpo(
      policy,
      pairs.map(({ prompt }) => ({ prompt })),
      onPolicy,
    ).done()
    assert.ok(
      (rows.at(-1)!['reward'] as number) > (rows[0]!['reward'] as number) + 1,
      `${rows[0]!['reward']} → ${rows.at(-1)!['reward']}`,
    )
    assert.equal(typeof rows[0]!['pairs_kept'], 'number')
  })

  it('gives the same numbers for the same seed, and goes on from a state', async () => {
    const numbers = (rows: Row[]) => rows.map(row => ({ ...row, step_time: 0 }))
    const make = () => dpo(new LettersPolicy(), pairs, { ...onPolicy, max_steps: 6 })
    const [whole, first] = [await make().done(), make()]
    for await (const row of first) if (row.step === 2) break
    const second = await dpo(new LettersPolicy(), pairs, { ...onPolicy, max_steps: 6 }, first.state).done()
    assert.deepEqual(numbers([...first.rows, ...second.rows]), numbers(whole.rows))
  })

  it('leaks no tensor', async () => {
    for (const config of [args, onPolicy]) {
      const counts: number[] = []
      for await (const row of dpo(new LettersPolicy(), pairs, { ...config, max_steps: 20 }))
        if (row.step === 3 || row.step === 20) counts.push(tf.memory().numTensors)
      assert.equal(counts[0], counts[1])
    }
  })

  it('rankedPairs takes best against worst, drops ties, near ties and rows without a reward', () => {
    const options = { num_generations: 4, pairs_per_prompt: 2, pair_margin: 0 }
    const counted = (values: number[], margin = 0) =>
      rankedPairs(values, { ...options, pair_margin: margin }).map(p => (p.counts ? [p.chosen, p.rejected] : null))
    assert.deepEqual(counted([1, 4, 2, 3]), [
      [1, 0],
      [3, 2],
    ])
    assert.deepEqual(counted([1, 4, 2, 3], 2), [[1, 0], null])
    assert.deepEqual(counted([5, 5, 5, 5]), [null, null])
    assert.deepEqual(counted([NaN, 1, NaN, 2]), [[3, 1], null])
    assert.deepEqual(counted([NaN, NaN, NaN, NaN]), [null, null])
    assert.deepEqual(counted([0, 0, 0, 0, 1, 2, 3, 4]), [null, null, [7, 4], [6, 5]])
  })

  it('refuses what does not fit', () => {
    const make =
      (given: Partial<DpoConfig>, rows: { prompt: number }[] = pairs) =>
      () =>
        dpo(new LettersPolicy(), rows, given)
    assert.throws(make({ pairs: 'on_policy' }), /pairs is "on_policy" without rewards/)
    assert.throws(make({ rewards }), /rewards are given but pairs is "dataset"/)
    assert.throws(make({ ...onPolicy, pairs_per_prompt: 5 }), /pairs_per_prompt \(5\).*Use at most 4/)
    assert.throws(make({ ...onPolicy, per_device_train_batch_size: 7 }), /batch \(7 pairs\) must be divisible/)
    assert.throws(make({ beta: 0 }), /beta is 0/)
    assert.throws(make({ precompute_ref_log_probs: true, sync_ref_model: true }), /exclude each other/)
    assert.throws(make({ ...onPolicy, loss_type: 'aot' }), /loss_type aot sorts the whole batch/)
    assert.throws(make({}, [{ prompt: 1 }]), /row 0 lacks chosen, rejected/)
  })
})
