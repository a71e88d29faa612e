/* 1,000 steps of a jitted AdamW update, and 1,000 of GRPO, each a sampling program and an update: from step 200 on neither tensors nor
 * device buffers nor the process grow. */
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import * as tf from '@tensorflow/tfjs-core'
import { loadCausalModel } from '../../src/models/loadCausalModel.js'
import { tokenLogProbs } from '../../src/nn/index.js'
import { adamw, adamwState, type AdamwState } from '../../src/optimizers/adamw.js'
import { grpo } from '../../src/optimizers/index.js'
import { valueAndGrad } from '../../src/optimizers/valueAndGrad.js'
import { loadPolicy } from '../../src/policies/index.js'
import { textReward, weighted } from '../../src/rewards/index.js'
import { jit, memory, start, stats, type TensorTree } from '../../src/xla/index.js'
import { node } from '../cli/rewardlab.js'
import { fixture } from '../models/fixture.js'

const [WARM, STEPS] = [200, 1000]
const REPORTED = [WARM, 400, 600, 800, STEPS]
const GROWTH = 0.01
const ROW = 4000 // bytes that a run may keep for each step: its row of metrics
/** V8 enlarges its young generation, by 16 MB in all, when it sees fit: here it is large from the start. It collects the old one when
 * it sees fit, too, so that a process of 260 MB swings by 20 MB: here it does before each look. */
const STEADY = ['--min-semi-space-size=16', '--expose-gc']

interface Held {
  resident: number
  tensors: number
  buffers: number
  bytes: number
}

if (!process.execArgv.includes(STEADY[0]!)) {
  const lines: string[] = []
  for (const kind of ['adamw', 'grpo']) {
    const { code, stdout, stderr } = await node([...STEADY, fileURLToPath(import.meta.url), kind])
    if (code !== 0) throw new Error(stdout + stderr)
    lines.push(stdout.trim())
  }
  console.log(`memory: ${lines.join('; ')}`)
} else {
  const kind = process.argv[2]
  await start({ backend: 'xla' })
  const figures = kind === 'adamw' ? await adamwSteps() : await grpoSteps()
  const [first, last] = [figures[0]!, figures.at(-1)!]
  const shown = figures.map(f => (f.resident / 1e6).toFixed(1)).join(', ')
  console.log(
    `${kind}: resident ${shown} MB at steps ${REPORTED.join(', ')}, ${last.tensors} tensors, ${last.buffers} device buffers of ` +
      `${(last.bytes / 1e6).toFixed(1)} MB, ${stats()!.compiled + stats()!.loaded} programs`,
  )
  assert.deepEqual({ ...last, resident: 0 }, { ...first, resident: 0 })
  const rows = kind === 'grpo' ? (STEPS - WARM) * ROW : 0
  const grown = last.resident - first.resident - rows
  assert.ok(grown < GROWTH * first.resident, `resident memory grew by ${((100 * grown) / first.resident).toFixed(1)} %`)
}

/** AdamW on one batch of token ids. */
async function adamwSteps(): Promise<Held[]> {
  const { model, weights } = await loadCausalModel(fixture('qwen2'))
  const ids = tf.randomUniform([8, 16], 0, 100, 'int32', 0)
  const mask = tf.onesLike(ids)
  type State = AdamwState<TensorTree> & { weights: TensorTree }
  const config = { learning_rate: 1e-4, adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.01, max_grad_norm: 1 } // prettier-ignore
  const update = jit(
    ({ weights, ...moments }: State, input_ids: tf.Tensor, attention_mask: tf.Tensor): [State, tf.Tensor] => {
      const { value, grads } = valueAndGrad(w => {
        const logits = model.head(w, tf.slice(model.hidden(w, { input_ids, attention_mask }), [0, 0, 0], [8, 15, -1]))
        return { value: tf.neg(tf.mean(tokenLogProbs(logits, tf.slice(input_ids, [0, 1], [8, 15])))), aux: {} }
      }, weights)
      const next = adamw(weights, grads, moments, config)
      return [{ weights: next.weights, ...next.state }, value]
    },
    { donate: [0], name: 'adamw' },
  )
  let state: State = { weights, ...adamwState(weights) }
  const figures: Held[] = []
  for (let step = 1; step <= STEPS; step++) {
    const [next, loss] = await update.async(state, ids, mask)
    state = next
    assert.ok(Number.isFinite((await loss.data())[0]))
    loss.dispose()
    if (REPORTED.includes(step)) figures.push(held())
  }
  return figures
}

async function grpoSteps(): Promise<Held[]> {
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
  const figures: Held[] = []
  for await (const { step } of run) if (REPORTED.includes(step)) figures.push(held())
  return figures
}

function held(): Held {
  globalThis.gc!()
  const { buffers, bytes } = memory()!
  return { resident: process.memoryUsage.rss(), tensors: tf.memory().numTensors, buffers, bytes }
}
