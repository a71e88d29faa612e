import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { linear, rmsNorm, tokenLogProbs } from '../../src/nn/index.js'
import { adamwState } from '../../src/optimizers/adamw.js'
import { trainingDefaults } from '../../src/optimizers/trainingConfig.js'
import { trainStep } from '../../src/optimizers/trainStep.js'
import type { StepState } from '../../src/optimizers/trainState.js'
import { astype, disposeTree, random, start, tensorsOf, typeOf, type ElementType } from '../../src/xla/index.js'

/** Losses of bf16 products with f32 weights, relative to those of f32: each is rounded to 8 bits, and the errors average out. */
const TRAJECTORY = 0.01
const [V, C, STEPS] = [32, 64, 12]

type Model = { embed: tf.Tensor; norm: tf.Tensor; hidden: tf.Tensor; head: tf.Tensor }
type Rows = { ids: tf.Tensor; targets: tf.Tensor }

/** A small network of the layers that language models are made of: next token from the last. */
function logProbs(w: Model, { ids, targets }: Rows): tf.Tensor {
  const x = tf.gather(w.embed, ids) // [N, C]
  const mid = tf.add(x, linear(tf.relu(linear(rmsNorm(x, w.norm, 1e-6), { weight: w.hidden })), { weight: w.hidden }))
  return tokenLogProbs(linear(mid, { weight: w.head }, { wide: true }), targets) // [N]
}

/** The losses of a few updates, and the state after them. */
async function train(type: ElementType, bf16: boolean, rate: number): Promise<{ losses: number[]; state: StepState }> {
  const weight = (seed: number, shape: number[]) =>
    tf.tidy(() => astype(tf.mul(random.normal(random.key(seed), shape), 0.3), type))
  const trainable = {
    embed: weight(1, [V, C]),
    norm: tf.tidy(() => astype(tf.ones([C]), type)),
    hidden: weight(2, [C, C]),
    head: weight(3, [V, C]),
  }
  const ids = tf.range(0, V, 1, 'int32')
  const rows: Rows = { ids, targets: tf.reverse(ids) }
  const step = trainStep<Rows>(
    'step',
    (_, rows) =>
      ({ trainable }) => {
        const sum = tf.neg(tf.sum(logProbs(trainable as Model, rows)))
        return { sum, normalizer: tf.scalar(V), tokens: tf.scalar(V), metrics: {} }
      },
    { ...trainingDefaults, bf16 },
  )
  let state: StepState = { trainable, ...adamwState(trainable), key: random.key(0) }
  const losses: number[] = []
  for (let i = 0; i < STEPS; i++) {
    const [next, metrics] = step(state, { policy: {} }, rows, { learning_rate: tf.scalar(rate) })
    losses.push((await metrics['loss']!.data())[0]!)
    disposeTree(metrics)
    state = next
  }
  return { losses, state }
}

describe('mixed precision', function () {
  this.timeout(30_000)
  before(() => start({ backend: 'xla' }))

  it('bf16: true trains float32 weights as float32 does', async () => {
    const { losses: full } = await train('f32', false, 1e-3)
    const { losses, state } = await train('f32', true, 1e-3)
    assert.ok(losses.at(-1)! < 0.8 * losses[0]!, `${losses.join(' ')}`)
    losses.forEach((loss, i) => assert.ok(Math.abs(loss / full[i]! - 1) < TRAJECTORY, `step ${i}: ${loss}, ${full[i]}`))
    assert.notDeepEqual(losses, full)
    for (const t of tensorsOf([state.trainable, state.m, state.v])) assert.equal(typeOf(t), 'f32')
    disposeTree(state)
  })

  it('without master weights bf16 weights stay bf16, moments float32, and small updates are lost', async () => {
    const rate = 1e-4 // bf16 weights about 0.3 are 1e-3 apart
    const { losses: kept } = await train('f32', true, rate)
    const { losses, state } = await train('bf16', false, rate)
    for (const t of tensorsOf(state.trainable)) assert.equal(typeOf(t), 'bf16')
    for (const t of tensorsOf([state.m, state.v])) assert.equal(typeOf(t), 'f32')
    const gain = (of: number[]) => of[0]! - of.at(-1)!
    assert.ok(Math.abs(losses[0]! / kept[0]! - 1) < TRAJECTORY, `${losses[0]} ${kept[0]}`)
    assert.ok(gain(losses) > 0 && gain(losses) < gain(kept) / 2, `${losses.join(' ')}; ${kept.join(' ')}`)
    disposeTree(state)
  })
})
