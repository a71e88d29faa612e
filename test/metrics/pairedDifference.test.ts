import assert from 'node:assert/strict'
import { rng } from '../../src/datasets/index.js'
import { bootstrapInterval, pairedDifference } from '../../src/metrics/index.js'
import { binary, near, width } from './reference.js'

describe('pairedDifference', () => {
  it('is the mean of a − b, and changes sign with the order', () => {
    const [a, b] = [binary(1, 60, 0.8), binary(2, 60, 0.4)]
    const there = pairedDifference(a, b, { seed: 3 })
    const back = pairedDifference(b, a, { seed: 3 })
    const mean = (x: number[]): number => x.reduce((p, q) => p + q) / x.length
    assert.ok(near(there.mean, mean(a) - mean(b)))
    assert.ok(near(there.low, -back.high) && near(there.high, -back.low))
  })

  it('cancels what is hard for both', () => {
    const random = rng(4)
    const difficulty = Array.from({ length: 50 }, () => 10 * random.uniform())
    const shifted = difficulty.map(value => value + 1)
    assert.ok(width(pairedDifference(shifted, difficulty)) < 1e-9)
    assert.ok(width(bootstrapInterval(shifted)) > 1)
  })

  it('compares every seed with one row of the base, or seed by seed', () => {
    const base = [0, 1, 0, 0]
    const seeds = [
      [1, 1, 0, 1],
      [1, 1, 1, 0],
    ]
    assert.equal(pairedDifference(seeds, base).mean, 4 / 8)
    assert.deepEqual(pairedDifference(seeds, seeds), { mean: 0, low: 0, high: 0 })
  })

  it('names items and seeds that do not match', () => {
    assert.throws(() => pairedDifference([1, 2], [1]), /got 1 × 2 values against 1 × 1/)
    assert.throws(() => pairedDifference([[1], [2], [3]], [[1], [2]]), /got 3 × 1 values against 2 × 1/)
    assert.throws(() => pairedDifference([1], [[1], [2]]), /got 1 × 1 values against 2 × 1/)
  })
})
