import assert from 'node:assert/strict'
import { rng } from '../../src/datasets/index.js'
import { advantageShares, scalarize } from '../../src/rewards/index.js'
import { close } from './samples.js'

describe('advantageShares', () => {
  it('shares the advantage as worked out by hand', () => {
    // A = (1.5, −0.5, −0.5, −0.5) from contributions centred (0.5 0.5 −0.5 −0.5) and (1 −1 0 0)
    const scalarized = {
      reward: [2, 0, 0, 0],
      contributions: [
        [1, 1, 0, 0],
        [1, -1, 0, 0],
      ],
    }
    close(advantageShares(scalarized, { num_generations: 4 }), [1 / 3, 2 / 3])
  })

  it('adds up to 1, and counts neither ties between groups nor constant components', () => {
    const random = rng(4)
    const scores = [
      ...Array.from({ length: 2 }, () => Array.from({ length: 12 }, () => random.uniform())),
      Array.from({ length: 12 }, (_, n) => Math.floor(n / 4)),
    ]
    const shares = advantageShares(scalarize(scores, { weights: [1, 2, 3] }), { num_generations: 4 })
    assert.ok(Math.abs(shares.reduce((a, b) => a + b) - 1) < 1e-12)
    assert.equal(shares[2], 0)
    const bad = advantageShares(scalarize(scores, { weights: [1, -0.1, 0] }), { num_generations: 4 })
    assert.equal(Math.abs(bad[2]!), 0)
  })

  it('is negative for a component that pulls against the others', () => {
    const scalarized = {
      reward: [3, 0],
      contributions: [
        [4, 0],
        [-1, 0],
      ],
    }
    close(advantageShares(scalarized, { num_generations: 2 }), [4 / 3, -1 / 3])
  })

  it('is 0 where every group ties, and leaves out samples without a reward', () => {
    const tie = { reward: [0.1 + 0.2, 0.1 + 0.2, 0.1 + 0.2], contributions: [[0.3, 0.3, 0.3]] }
    assert.deepEqual(advantageShares(tie, { num_generations: 3 }), [0])
    const partial = { reward: [1, 0, null, null, null, null], contributions: [[1, 0, 0, 0, 0, 0]] }
    assert.deepEqual(advantageShares(partial, { num_generations: 3 }), [1])
    assert.throws(() => advantageShares(tie, { num_generations: 2 }), /num_generations is 2, needed a divisor of the 3/)
  })
})
