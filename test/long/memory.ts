/* 1,000 steps of GRPO, each a sampling program and a compiled update: neither tensors nor device buffers nor the process grow. */
import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { grpo } from '../../src/optimizers/index.js'
import { loadPolicy } from '../../src/policies/index.js'
import { textReward, weighted } from '../../src/rewards/index.js'
import { memory, stats } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'

const STEPS = 1000
const WARM = 200 // by then V8 has optimised what it runs and the allocator has its arenas
const GROWTH = 32 // MB of resident memory that garbage not yet collected may explain
const REPORTED = [WARM, 400, 600, 800, STEPS]

const policy = await loadPolicy(fixture('qwen2'))
const vowels = textReward('vowels', [], text => text.match(/[aeiou]/g)?.length ?? 0)
const rewards = weighted({ vowels: [vowels, 1] })
const dataset = ['Ann has', 'Ben has', 'Mia has', 'Tom has'].map(prompt => ({ prompt }))
const run = grpo(policy, dataset, rewards, {
  max_steps: STEPS,
  per_device_train_batch_size: 16,
  max_completion_length: 8,
  learning_rate: 1e-5,
  beta: 0.1,
})

const began = performance.now()
const figures: { resident: number; tensors: number; buffers: number; bytes: number; compiled: number }[] = []
for await (const { step } of run)
  if (REPORTED.includes(step)) {
    const { buffers, bytes } = memory() ?? { buffers: 0, bytes: 0 }
    const resident = Math.round(process.memoryUsage.rss() / 1e6)
    figures.push({ resident, tensors: tf.memory().numTensors, buffers, bytes, compiled: stats()?.compiled ?? 0 })
  }
const [first, last] = [figures[0]!, figures.at(-1)!]
const seconds = ((performance.now() - began) / 1000).toFixed(0)
console.log(
  `memory: ${STEPS} steps in ${seconds} s; resident ${figures.map(f => f.resident).join(', ')} MB at steps ${REPORTED.join(', ')}; ` +
    `${last.tensors} tensors, ${last.buffers} device buffers of ${(last.bytes / 1e6).toFixed(1)} MB, ${last.compiled} programs`,
)
assert.deepEqual({ ...last, resident: 0, compiled: 0 }, { ...first, resident: 0, compiled: 0 })
assert.ok(last.resident - first.resident < GROWTH, `resident memory grew by ${last.resident - first.resident} MB`)
