import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as tf from '@tensorflow/tfjs-core'
import {
  adamw,
  adamwState,
  learningRate,
  type AdamwConfig,
  type LearningRateConfig,
} from '../../src/optimizers/index.js'
import { decays } from '../../src/optimizers/adamw.js'
import { astype, start, typeOf } from '../../src/xla/index.js'

type Values = { weight: number[][]; bias: number[] }

const fixture = JSON.parse(readFileSync('test/fixtures/optimizers/adamw.json', 'utf8')) as {
  options: AdamwConfig
  initial: Values
  steps: (Values & { gradients: Values; grad_norm: number; learning_rate: number })[]
  schedules: (Omit<LearningRateConfig, 'learning_rate'> & { values: number[] })[]
  decays: Record<string, boolean>
}

/** float32 rounding over 20 steps. */
const TOLERANCE = 2e-6

const near = (got: ArrayLike<number>, expected: number[], what: string) =>
  expected.forEach((e, i) => assert.ok(Math.abs(got[i]! - e) <= TOLERANCE, `${what} [${i}]: ${got[i]}, expected ${e}`))
const tensors = ({ weight, bias }: Values) => ({ weight: tf.tensor2d(weight), bias: tf.tensor1d(bias) })

describe('adamw', () => {
  before(() => start())

  it('equals torch.optim.AdamW with clipping and a schedule over 20 steps', () => {
    let weights = tensors(fixture.initial)
    let state = adamwState(weights)
    fixture.steps.forEach((expected, i) => {
      const config = { ...fixture.options, learning_rate: tf.scalar(expected.learning_rate) }
      const next = adamw(weights, tensors(expected.gradients), state, config)
      near(next.gradNorm.dataSync(), [expected.grad_norm], `step ${i} grad_norm`)
      ;({ weights, state } = next)
      near(weights.weight.dataSync(), expected.weight.flat(), `step ${i} weight`)
      near(weights.bias.dataSync(), expected.bias, `step ${i} bias`)
    })
    assert.equal(state.step.dataSync()[0], fixture.steps.length)
  })

  it('moves a first step by the learning rate against the sign of the gradient, whatever its size', () => {
    const weights = { w: tf.tensor1d([1, 1]) }
    const grads = { w: tf.tensor1d([1e-3, -50]) }
    const config = { ...fixture.options, learning_rate: 0.1, weight_decay: 0, max_grad_norm: 0 }
    near(adamw(weights, grads, adamwState(weights), config).weights.w.dataSync(), [0.9, 1.1], 'w')
  })

  it('decays without a gradient by 1 − η·λ, biases and norms not at all', () => {
    const weights = { proj: { weight: tf.scalar(2), bias: tf.scalar(2) }, norm: { weight: tf.scalar(2) } }
    const zeros = { proj: { weight: tf.scalar(0), bias: tf.scalar(0) }, norm: { weight: tf.scalar(0) } }
    const config = { ...fixture.options, learning_rate: 0.5, weight_decay: 0.1 }
    const { proj, norm } = adamw(weights, zeros, adamwState(weights), config).weights
    near(
      [proj.weight, proj.bias, norm.weight].map(t => t.dataSync()[0]!),
      [1.9, 2, 2],
      'weights',
    )
  })

  it('moves each weight by the rate that is its own', () => {
    const weights = { a: tf.scalar(1), b: tf.scalar(1) }
    const grads = { a: tf.scalar(3), b: tf.scalar(3) }
    const learning_rate = (path: string) => tf.scalar(path === 'a' ? 0.5 : 0.25)
    const config = { ...fixture.options, learning_rate, weight_decay: 0, max_grad_norm: 0 }
    const { a, b } = adamw(weights, grads, adamwState(weights), config).weights
    near([a.dataSync()[0]!, b.dataSync()[0]!], [0.5, 0.75], 'weights')
  })

  it('computes in float32 and rounds the weights once', () => {
    const [values, slopes] = [
      [1, 2.5, -3],
      [0.5, -0.25, 3],
    ]
    const make = (type: 'f32' | 'bf16') => ({ w: astype(tf.tensor1d(values), type) })
    const step = (type: 'f32' | 'bf16') => {
      const weights = make(type)
      const grads = { w: astype(tf.tensor1d(slopes), type) }
      return adamw(weights, grads, adamwState(weights), { ...fixture.options, learning_rate: 0.3, weight_decay: 0.01 })
    }
    const [half, full] = [step('bf16'), step('f32')]
    assert.equal(typeOf(half.weights.w), 'bf16')
    assert.deepEqual(half.weights.w.dataSync(), astype(full.weights.w, 'bf16').dataSync())
    for (const moment of ['m', 'v'] as const) {
      assert.equal(typeOf(half.state[moment].w), 'f32')
      assert.deepEqual(half.state[moment].w.dataSync(), full.state[moment].w.dataSync())
    }
    assert.deepEqual(half.gradNorm.dataSync(), full.gradNorm.dataSync())
  })

  it('decays the weights that transformers’ Trainer decays', () => {
    for (const [name, decayed] of Object.entries(fixture.decays)) assert.equal(decays(name), decayed, name)
  })

  for (const { values, ...config } of fixture.schedules)
    it(`follows transformers' schedule ${JSON.stringify(config)}`, () =>
      near(
        values.map((_, step) => learningRate(step, values.length, { learning_rate: 1, ...config })),
        values,
        'learning rate',
      ))

  it('reads a warm-up below 1 as a share of the steps', () =>
    assert.equal(learningRate(1, 10, { learning_rate: 1, lr_scheduler_type: 'linear', warmup_steps: 0.31 }), 1 / 4))
})
