import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import * as tf from '@tensorflow/tfjs-core'
import { dpo, grpo, type Run } from '../../src/optimizers/index.js'
import { loadPolicy, type LanguagePolicy } from '../../src/policies/index.js'
import { textReward, weighted } from '../../src/rewards/index.js'
import { memory, start, stats } from '../../src/xla/index.js'
import { collect } from '../collect.js'
import { fixture } from '../models/fixture.js'

const dataset = ['Ann has', 'Ben has', 'Mia has', 'Tom has'].map(prompt => ({ prompt }))
const pairs = dataset.map(row => ({ ...row, chosen: ' 12 apples.', rejected: ' 24 pears.' }))
/** Almost never the same for a whole group, so that there is something to learn at every step. */
const codePoints = textReward('codePoints', [], text => Array.from(text).reduce((sum, c) => sum + c.codePointAt(0)!, 0))
const rewards = () => weighted({ codePoints: [codePoints, 1] })
const args = { max_steps: 50, learning_rate: 1e-3, beta: 0.1, seed: 1 }
const drawn = { num_generations: 4, max_completion_length: 4 }

const runs: Record<string, (policy: LanguagePolicy) => Run> = {
  'grpo with a reference': policy =>
    grpo(policy, dataset, rewards(), { ...args, ...drawn, per_device_train_batch_size: 8 }),
  'dpo on given pairs': policy => dpo(policy, pairs, { ...args, per_device_train_batch_size: 2 }),
  'dpo on its own completions': policy =>
    dpo(policy, dataset, {
      ...args,
      ...drawn,
      per_device_train_batch_size: 2,
      pairs: 'on_policy',
      rewards: rewards(),
      pairs_per_prompt: 1,
    }),
}

describe('50 steps of training', function () {
  this.timeout(120_000)
  before(() => start())

  for (const [name, run] of Object.entries(runs))
    it(`leak nothing and compile nothing after the fifth: ${name}`, async () => {
      const before = await held()
      const policy = await loadPolicy(fixture('qwen2'))
      const running = run(policy)
      let warm: object | undefined
      for await (const { step } of running) {
        if (step === 5) warm = { ...(await held()), ...made() }
        if (step === 50) assert.deepEqual({ ...(await held()), ...made() }, warm)
      }
      assert.equal(running.rows.length, 50)
      running.dispose()
      policy.dispose()
      assert.deepEqual(await held(), before)
    })
})

/** What tensors hold now, once the buffers that only wait for a garbage collection are gone. */
async function held(): Promise<object> {
  for (let i = 0; i < 3; i++) {
    collect()
    await setTimeout(10)
  }
  return { tensors: tf.memory().numTensors, buffers: memory()?.buffers, bytes: memory()?.bytes }
}

/** What was compiled and traced so far. */
function made(): object {
  return { compiled: stats()?.compiled, traced: stats()?.traced }
}
