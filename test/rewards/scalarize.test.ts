import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import { rng } from '../../src/datasets/index.js'
import { scalarize, type RunningStatistics, type Score, type ScalarizeOptions } from '../../src/rewards/index.js'
import { close } from './samples.js'

describe('scalarize', () => {
  const components: Score[][] = [
    [1, 0, 1, 0],
    [2, 2, 0, 0],
  ]

  it('sums weighted scores', () => {
    const { reward, contributions } = scalarize(components, { weights: [0.5, 2] })
    assert.deepEqual(contributions, [
      [0.5, 0, 0.5, 0],
      [4, 4, 0, 0],
    ])
    assert.deepEqual(reward, [4.5, 4, 0.5, 0])
  })

  it('normalises within groups, with sample deviation and TRL\u2019s epsilon', () => {
    const { contributions } = scalarize([[1, 3, 5, 5]], { weights: [2], normalization: 'group', num_generations: 2 })
    const z = 1 / (Math.SQRT2 + 1e-4) // group 1, 3: mean 2, std √2; group 5, 5: a tie
    close(contributions[0]!, [-2 * z, 2 * z, 0, 0])
  })

  it('normalises by what was seen so far, whatever the cut into batches', () => {
    const random = rng(1)
    const scores = Array.from({ length: 40 }, (_, i) => (i % 7 === 3 ? null : random.uniform() * 3))
    const options: ScalarizeOptions = { weights: [1], normalization: 'running' }
    const whole = scalarize([scores], options)
    const first = scalarize([scores.slice(0, 15)], options)
    const second = scalarize([scores.slice(15)], {
      ...options,
      statistics: JSON.parse(JSON.stringify(first.statistics)) as RunningStatistics,
    })
    close(second.reward, whole.reward.slice(15), 1e-9)
    const present = scores.filter(score => score !== null)
    const mean = present.reduce((a, b) => a + b) / present.length
    const std = Math.sqrt(present.reduce((a, b) => a + (b - mean) ** 2, 0) / (present.length - 1))
    close(
      whole.reward,
      scores.map(score => score && (score - mean) / (std + 1e-4)),
      1e-9,
    )
  })

  it('lets the component furthest below its ideal bind under chebyshev', () => {
    const { reward, contributions } = scalarize(components, { weights: [1, 1], scalarization: 'chebyshev' })
    // gaps to the ideal (1, 2): format 0 1 0 1, correct 0 0 2 2
    assert.deepEqual(reward, [0, -1, -2, -2])
    assert.deepEqual(contributions, [
      [0, -1, 0, 0],
      [0, 0, -2, -2],
    ])
  })

  it('ranks a balanced sample first under chebyshev where linear prefers the extremes', () => {
    const concave: Score[][] = [
      [1, 0, 0.4],
      [0, 1, 0.4],
    ]
    const best = (options: ScalarizeOptions): number => {
      const { reward } = scalarize(concave, options)
      return reward.indexOf(Math.max(...(reward as number[])))
    }
    assert.notEqual(best({ weights: [0.5, 0.5] }), 2)
    assert.equal(best({ weights: [0.5, 0.5], scalarization: 'chebyshev' }), 2)
  })

  it('leaves out scores that do not apply', () => {
    const sparse: Score[][] = [
      [1, null, null, 3],
      [2, 2, null, null],
    ]
    for (const normalization of ['none', 'group', 'running'] as const)
      for (const scalarization of ['linear', 'chebyshev'] as const) {
        const { reward, contributions } = scalarize(sparse, {
          weights: [1, 1],
          normalization,
          scalarization,
          num_generations: 4,
        })
        assert.equal(reward[2], null)
        assert.ok(reward.every((value, n) => n === 2 || Number.isFinite(value)))
        assert.deepEqual([contributions[0]![1]!, contributions[0]![2]!, contributions[1]![3]!].map(Math.abs), [0, 0, 0])
      }
    close(scalarize(sparse, { weights: [1, 1] }).reward, [3, 2, null, 3])
  })

  it('has contributions that add up to the reward, whatever the options', () => {
    const random = rng(2)
    const scores = Array.from({ length: 3 }, () => Array.from({ length: 12 }, () => random.uniform()))
    for (const normalization of ['none', 'group', 'running'] as const)
      for (const scalarization of ['linear', 'chebyshev'] as const) {
        const { reward, contributions } = scalarize(scores, {
          weights: [1, 2, 0.5],
          normalization,
          scalarization,
          num_generations: 4,
        })
        close(
          reward,
          reward.map((_, n) => contributions.reduce((sum, row) => sum + row[n]!, 0)),
        )
      }
  })

  it('under group normalisation forgets shift and scale of a component', () => {
    const random = rng(3)
    const scores = Array.from({ length: 8 }, () => random.uniform())
    const options: ScalarizeOptions = { weights: [1], normalization: 'group', num_generations: 4 }
    const moved = scalarize([scores.map(score => 1000 + 50 * score)], options).reward
    close(moved, scalarize([scores], options).reward, 2e-3) // as far as the epsilon reaches
  })

  it('takes a tensor, whose NaN means not applicable', () => {
    const tensor = tf.tensor2d([
      [1, NaN],
      [2, NaN],
    ])
    assert.deepEqual(scalarize(tensor, { weights: [1, 1] }).reward, [3, null])
    tensor.dispose()
  })

  it('names what does not fit', () => {
    const run = (options: ScalarizeOptions) => () => scalarize(components, options)
    assert.throws(run({ weights: [1] }), /got 1 weights for 2 components/)
    assert.throws(run({ weights: [1, NaN] }), /weights are 1, NaN, needed finite numbers/)
    assert.throws(run({ weights: [1, -1], scalarization: 'chebyshev' }), /of at least 0/)
    assert.throws(
      run({ weights: [1, 1], normalization: 'group' }),
      /num_generations is undefined, needed a divisor above 1 of the 4/,
    )
    assert.throws(run({ weights: [1, 1], normalization: 'group', num_generations: 3 }), /num_generations is 3/)
    assert.throws(() => scalarize([[1], [1, 2]], { weights: [1, 1] }), /components have 1, 2 scores/)
  })
})
