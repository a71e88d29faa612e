import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as tf from '@tensorflow/tfjs-core'
import { groupAdvantages, type AdvantageOptions } from '../../src/optimizers/index.js'
import { start } from '../../src/xla/index.js'

interface Case {
  components: (number | null)[][]
  options: Partial<AdvantageOptions>
  advantages: number[]
}

const { advantages: cases } = JSON.parse(readFileSync('test/fixtures/optimizers/trl_losses.json', 'utf8')) as {
  advantages: Case[]
}

/** TRL computes in float32, where a deviation of rewards of size 1 is off by about 1e-7 and ε is 1e-4. */
const TOLERANCE = 2e-5

const near = (got: tf.Tensor, expected: number[]) =>
  Array.from(got.dataSync()).forEach((a, n) =>
    assert.ok(Math.abs(a - expected[n]!) <= TOLERANCE, `row ${n}: ${a}, expected ${expected[n]}`),
  )

describe('groupAdvantages', () => {
  before(() => start())

  for (const { components, options, advantages } of cases)
    it(`equals TRL's: ${JSON.stringify(options)}${components[0]!.includes(null) ? ', with None' : ''}`, () =>
      near(groupAdvantages(components, options), advantages))

  it('is (r − mean)/(std + ε) with Bessel’s correction, by hand', () => {
    // group 1: 1, 3 → mean 2, std √2; group 2 ties
    const a = 1 / (Math.SQRT2 + 1e-4)
    near(groupAdvantages([[1, 3, 5, 5]], { num_generations: 2 }), [-a, a, 0, 0])
  })

  it('subtracts the mean of the batch, or a given value', () => {
    const options = { num_generations: 2, scale_rewards: 'none' } as const
    near(groupAdvantages([[1, 3, 5, 7]], { ...options, baseline: 'batch' }), [-3, -1, 1, 3])
    near(groupAdvantages([[1, 3, 5, 7]], { ...options, baseline: 2 }), [-1, 1, 3, 5])
  })

  it('takes a tensor, NaN where a reward does not apply', () => {
    const scores = tf.tensor2d([[1, NaN, 3, 2]])
    near(groupAdvantages(scores, { num_generations: 4, scale_rewards: 'none' }), [-1, 0, 1, 0])
  })

  it('says what does not fit', () => {
    assert.throws(
      () => groupAdvantages([[1, 2, 3]], { num_generations: 2 }),
      /rows \(3\) must be divisible by num_generations \(2\)/,
    )
    assert.throws(
      () => groupAdvantages([[1, 2]], { num_generations: 2, weights: [1, 2] }),
      /2 weights for 1 components/,
    )
    assert.throws(() => groupAdvantages([]), /no scores/)
  })
})
