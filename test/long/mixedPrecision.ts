/* The tiny model trained in float32, with bfloat16 products, and with bfloat16 weights; in bfloat16, what it draws. */
import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { sft } from '../../src/optimizers/index.js'
import { loadPolicy } from '../../src/policies/index.js'
import { disposeTree } from '../../src/xla/index.js'

const STEPS = 40
/** Of the losses with bfloat16 products, relative to float32: twelve steps differed by at most 0.7 %. */
const TRAJECTORY = 0.05
/** Of log-probs of drawn tokens, recomputed in one pass: bfloat16 has 8 bits. */
const DRAWN = 0.1

const dir = 'data/models/tiny-qwen2'
const rows = ['Ann has', 'Ben has', 'Mia has', 'Tom has'].map((prompt, i) => ({
  prompt,
  completion: ` ${i + 2} apples.`,
}))
const args = {
  max_steps: STEPS,
  learning_rate: 1e-4,
  lr_scheduler_type: 'constant',
  per_device_train_batch_size: 4,
} as const

async function losses(dtype: 'float32' | 'bfloat16', bf16: boolean): Promise<number[]> {
  const policy = await loadPolicy(dir, { dtype })
  const run = await sft(policy, rows, { ...args, bf16 }).done()
  policy.dispose()
  return run.rows.map(row => row['loss'] as number)
}

const began = performance.now()
const [full, mixed, half] = [
  await losses('float32', false),
  await losses('float32', true),
  await losses('bfloat16', false),
]
const policy = await loadPolicy(dir, { dtype: 'bfloat16' })
const { trajectories } = await policy.sample(['12+7='], { num_generations: 8, max_completion_length: 16, seed: 0 })
const { logProbs } = policy.evaluate(policy.weights, trajectories)
const drawn = (await tf.max(tf.abs(tf.sub(logProbs, trajectories.logProbs))).data())[0]!
disposeTree([trajectories, logProbs])

const apart = Math.max(...mixed.map((loss, i) => Math.abs(loss / full[i]! - 1)))
const ends = [full, mixed, half].map(l => `${l[0]!.toFixed(3)} → ${l.at(-1)!.toFixed(3)}`)
const seconds = ((performance.now() - began) / 1000).toFixed(0)
console.log(
  `mixedPrecision: loss over ${STEPS} steps in float32 ${ends[0]}, with bf16 ${ends[1]} (at most ${(100 * apart).toFixed(1)} % apart), ` +
    `in bfloat16 ${ends[2]}; log-probs drawn and recomputed in bfloat16 ${drawn.toFixed(3)} apart; ${seconds} s`,
)
assert.ok(apart < TRAJECTORY)
assert.ok(drawn < DRAWN)
