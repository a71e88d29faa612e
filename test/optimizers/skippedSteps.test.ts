import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { dpo, grpo, sft, srpo, type Run, type TrainState } from '../../src/optimizers/index.js'
import type { Evaluation, Policy, Trajectories, Weights } from '../../src/policies/policy.js'
import { weighted } from '../../src/rewards/index.js'
import { start, tensorsOf, type TensorTree } from '../../src/xla/index.js'
import { LettersPolicy } from './lettersPolicy.js'

/** Log-probabilities of prompt 3 are no numbers. */
class BadPrompt extends LettersPolicy {
  override evaluate(weights: Weights, trajectories: Trajectories, options = {}): Evaluation {
    const { logProbs, ...rest } = super.evaluate(weights, trajectories, options)
    const { prompts } = trajectories.outputs as { prompts: tf.Tensor }
    const bad = tf.expandDims(tf.cast(tf.equal(prompts, 3), 'float32'), 1)
    return { ...rest, logProbs: tf.mul(logProbs, tf.add(1, tf.sqrt(tf.neg(bad)))) }
  }
}

/** Two prompts a step; those of steps 3, 6, 9, … are bad. */
const prompts = [0, 1, 2, 0, 1, 3]
const rows = prompts.map(prompt => ({ prompt, completion: 'a.', chosen: 'ab.', rejected: 'c.' }))
const shared = { max_steps: 6, learning_rate: 0.1, shuffle: false, ema_decay: 0.9, lr_scheduler_type: 'linear' } as const // prettier-ignore
const lengths = () => weighted({ length: [({ completions }) => completions.map(text => (text as string).length), 1] })

type Start = (policy: Policy<number, string>, extra?: object, state?: TrainState) => Run
const batch = (size: number, parts: number) => ({ ...shared, per_device_train_batch_size: size / parts, gradient_accumulation_steps: parts }) // prettier-ignore
const drawn = { num_generations: 4, beta: 0.1 }
const METHODS: Record<string, (parts: number) => Start> = {
  sft: parts => (policy, extra, state) => sft(policy, rows, { ...batch(2, parts), ...extra }, state),
  dpo: parts => (policy, extra, state) => dpo(policy, rows, { ...batch(2, parts), ...extra }, state),
  grpo: parts => (policy, extra, state) =>
    grpo(policy, rows, lengths(), { ...batch(8, parts), ...drawn, ...extra }, state),
  srpo: parts => (policy, extra, state) =>
    srpo(policy, rows, lengths(), { ...batch(8, parts), ...drawn, ...extra }, state),
}

/** Bits of all that a skipped step leaves alone. */
async function bitsOf({ trainable, ema, m, v, step }: TrainState): Promise<Buffer> {
  const values = await Promise.all(tensorsOf({ trainable, ema, m, v, step }).map(t => t.data()))
  return Buffer.concat(values.map(value => Buffer.from((value as Float32Array).slice().buffer)))
}

describe('skipped steps', function () {
  this.timeout(60_000)
  before(() => start())

  for (const [method, make] of Object.entries(METHODS)) {
    const parts = method === 'sft' || method === 'grpo' ? 2 : 1
    it(`${method}, in ${parts} part(s): one that is not finite changes nothing, and the run goes on`, async () => {
      const run = make(parts)(new BadPrompt())
      const states: Buffer[] = []
      for await (const { step } of run) states[step - 1] = await bitsOf(run.state)
      assert.deepEqual(run.rows.map(row => row['loss'] !== null), [true, true, false, true, true, false]) // prettier-ignore
      assert.deepEqual(run.rows.map(row => row['skipped_steps']), [0, 0, 1, 1, 1, 2]) // prettier-ignore
      states.forEach((state, i) => i > 0 && assert.equal(state.equals(states[i - 1]!), i % 3 === 2, `step ${i + 1}`))
      assert.deepEqual(run.rows.map(row => row.step), [1, 2, 3, 4, 5, 6]) // prettier-ignore
      const rates = run.rows.map(row => Math.round((row['learning_rate'] as number) * 600)) // of 6 steps, skipped or not
      assert.deepEqual(rates, [60, 50, 40, 30, 20, 10])
    })
  }

  it('skips a step whose gradient alone is not finite, with 8-bit moments', async () => {
    const policy = {
      weights: { trainable: { w: tf.ones([64, 64]) }, frozen: {} },
      reference: { trainable: {}, frozen: {} },
      encode: (given: readonly number[]) => ({ bad: tf.tensor1d([...given]) }),
      score: ({ trainable }: Weights, outputs: TensorTree) => {
        const { w } = trainable as { w: tf.Tensor }
        const { bad } = outputs as { bad: tf.Tensor } // 1: the root of 0, whose slope is infinite
        return { score: tf.add(tf.sqrt(tf.sub(tf.max(w), bad)), tf.sum(w)), length: tf.onesLike(bad) }
      },
    } as unknown as Policy<number, string>
    const given = [1, 0].map(prompt => ({ prompt, completion: '' }))
    const run = sft(policy, given, { ...batch(1, 1), max_steps: 2, optim: 'adamw_8bit' })
    const before = await bitsOf(run.state)
    const after: Buffer[] = []
    for await (const { step } of run) after[step - 1] = await bitsOf(run.state)
    assert.ok(Number.isFinite(run.rows[0]!['loss']) && run.rows[0]!['grad_norm'] === null)
    assert.deepEqual(run.rows.map(row => row['skipped_steps']), [1, 1]) // prettier-ignore
    assert.deepEqual(after.map(state => state.equals(before)), [true, false]) // prettier-ignore
  })

  it('ends the run after max_skipped_steps in a row, which a run that goes on has counted', async () => {
    const bad = [{ prompt: 0, completion: 'a.' }, ...rows.slice(5), ...rows.slice(5), ...rows.slice(5)]
    const args = { ...batch(1, 1), max_steps: 4, max_skipped_steps: 2 }
    const message = /^Error: sft: the loss of 2 steps in a row, 2 to 3, is not finite, and max_skipped_steps is 2; the weights are those of step 1\. Lower/ // prettier-ignore
    const whole = sft(new BadPrompt(), bad, args)
    await assert.rejects(whole.done(), message)
    assert.deepEqual(whole.rows.map(row => row['skipped_steps']), [0, 1, 2]) // prettier-ignore

    const first = sft(new BadPrompt(), bad, args)
    for await (const { step } of first) if (step === 2) break
    const second = sft(new BadPrompt(), bad, args, first.state)
    await assert.rejects(second.done(), message)
    assert.deepEqual(second.rows.map(({ step, skipped_steps }) => [step, skipped_steps]), [[3, 2]]) // prettier-ignore
    assert.throws(() => sft(new BadPrompt(), bad, { max_skipped_steps: 0 }), /max_skipped_steps is 0/)
  })
})
