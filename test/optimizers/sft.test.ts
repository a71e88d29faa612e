import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { sft } from '../../src/optimizers/index.js'
import { start, tensorsOf } from '../../src/xla/index.js'
import { LettersPolicy } from './lettersPolicy.js'

const rows = ['a.', 'bb.', 'c.', 'abc'].map((completion, prompt) => ({ prompt, completion }))
const args = {
  per_device_train_batch_size: 4,
  max_steps: 60,
  learning_rate: 0.1,
  lr_scheduler_type: 'constant',
} as const

describe('sft', function () {
  this.timeout(60_000)
  before(() => start())

  it('learns its completions; the loss is the mean over tokens', async () => {
    const policy = new LettersPolicy()
    const run = await sft(policy, rows, args).done()
    const letters = 3 + Math.exp(-0.5) // logits 0, 0, 0, −½
    const first = (7 * Math.log(letters) + 3 * (Math.log(letters) + 0.5)) / 10 // ten tokens, three of them full stops
    assert.ok(Math.abs((run.rows[0]!['loss'] as number) - first) < 1e-5, `${run.rows[0]!['loss']} ${first}`)
    assert.equal(run.rows[0]!['num_tokens'], 10)
    for (const { prompt, completion } of rows) assert.ok(policy.probability(prompt, completion) > 0.9)
  })

  it('accumulates exactly although parts differ in tokens', async () => {
    const make = (extra: object) => sft(new LettersPolicy(), rows, { ...args, max_steps: 3, ...extra }).done()
    const [whole, parts] = [
      await make({}),
      await make({ per_device_train_batch_size: 1, gradient_accumulation_steps: 4 }),
    ]
    whole.rows.forEach((row, i) =>
      assert.ok(Math.abs((row['loss'] as number) - (parts.rows[i]!['loss'] as number)) < 1e-6),
    )
  })

  it("keeps a moving average of the weights, as diffusers' EMAModel", async () => {
    const policy = new LettersPolicy()
    const run = sft(policy, rows, { ...args, max_steps: 12, ema_decay: 0.4 })
    let expected: number[] = []
    for await (const { step } of run) {
      const weights = Array.from(await tensorsOf(policy.weights.trainable)[0]!.data())
      const decay = step === 1 ? 0 : Math.min(0.4, step / (9 + step))
      expected = weights.map((w, i) => (step === 1 ? w : expected[i]! - (1 - decay) * (expected[i]! - w)))
      const found = Array.from(await tensorsOf(run.state.ema!)[0]!.data())
      found.forEach((x, i) => assert.ok(Math.abs(x - expected[i]!) < 1e-6, `step ${step}: ${x}, wanted ${expected[i]}`))
    }
    assert.equal(run.rows.length, 12)
    assert.equal(sft(new LettersPolicy(), rows, args).state.ema, undefined)
    assert.throws(() => sft(policy, rows, { ...args, ema_decay: 1 }), /ema_decay is 1, needs a number in \[0, 1\)/)
  })

  it('passes over the data set num_train_epochs times, in the order given without shuffle', async () => {
    const seen: number[][] = []
    const policy = new LettersPolicy()
    const encode = policy.encode.bind(policy)
    policy.encode = (prompts, outputs) => (seen.push([...prompts]), encode(prompts, outputs))
    const config = { per_device_train_batch_size: 2, num_train_epochs: 2, learning_rate: 0.1 }
    const run = await sft(policy, rows, { ...config, shuffle: false }).done()
    assert.deepEqual(seen, [
      [0, 1],
      [2, 3],
      [0, 1],
      [2, 3],
    ])
    assert.deepEqual(
      run.rows.map(row => row['epoch']),
      [0.5, 1, 1.5, 2],
    )
    seen.length = 0
    await sft(policy, rows, config).done()
    assert.deepEqual(seen.slice(0, 2).flat().sort(), [0, 1, 2, 3])
    assert.deepEqual(seen.slice(2).flat().sort(), [0, 1, 2, 3])
  })

  it('leaks no tensor', async () => {
    const counts: number[] = []
    for await (const row of sft(new LettersPolicy(), rows, { ...args, max_steps: 20 }))
      if (row.step === 3 || row.step === 20) counts.push(tf.memory().numTensors)
    assert.equal(counts[0], counts[1])
  })
})
