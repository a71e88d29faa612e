import assert from 'node:assert/strict'
import { rng } from '../../src/datasets/index.js'
import { bootstrapInterval } from '../../src/metrics/index.js'
import { binary, near, reference, width } from './reference.js'

describe('bootstrapInterval', () => {
  it('equals SciPy up to the resampling noise', () => {
    for (const { values, level, mean, low, high } of reference.bootstrap) {
      const got = bootstrapInterval(values, { level, resamples: 20_000, seed: 1 })
      // The standard error of a tail quantile from 20,000 draws is 0.02 of the mean's own; two draws, five standard errors.
      const tolerance = 0.15 * ((high - low) / 4)
      assert.ok(near(got.mean, mean))
      assert.ok(Math.abs(got.low - low) < tolerance, `${got.low}, not ${low}`)
      assert.ok(Math.abs(got.high - high) < tolerance, `${got.high}, not ${high}`)
    }
  })

  it('is as worked out by hand for two values: means 0, ½, 1 with shares ¼, ½, ¼', () => {
    const inner = bootstrapInterval([0, 1], { level: 0.4 }) // quantiles 0.3 and 0.7
    assert.deepEqual(inner, { mean: 0.5, low: 0.5, high: 0.5 })
    assert.deepEqual(bootstrapInterval([0, 1], { level: 0.6 }), { mean: 0.5, low: 0, high: 1 }) // 0.2 and 0.8
    assert.deepEqual(bootstrapInterval([3, 3, 3]), { mean: 3, low: 3, high: 3 })
    assert.deepEqual(bootstrapInterval([7]), { mean: 7, low: 7, high: 7 })
  })

  it('repeats a seed, and moves with the values', () => {
    const random = rng(1)
    const values = Array.from({ length: 50 }, () => random.uniform())
    const got = bootstrapInterval(values, { seed: 5 })
    assert.deepEqual(bootstrapInterval(values, { seed: 5 }), got)
    assert.notDeepEqual(bootstrapInterval(values, { seed: 6 }), got)
    const moved = bootstrapInterval(
      values.map(value => 2 * value + 10),
      { seed: 5 },
    )
    assert.ok(near(moved.low, 2 * got.low + 10) && near(moved.high, 2 * got.high + 10))
  })

  it('narrows with more items and widens with the level', () => {
    assert.ok(width(bootstrapInterval(binary(1, 400))) < 0.7 * width(bootstrapInterval(binary(1, 100))))
    assert.ok(width(bootstrapInterval(binary(1, 100), { level: 0.99 })) > width(bootstrapInterval(binary(1, 100))))
  })

  it('covers the true mean about as often as it says', () => {
    const trials = 300
    let covered = 0
    for (let t = 0; t < trials; t++) {
      const { low, high } = bootstrapInterval(binary(100 + t, 80, 0.4), { seed: t, resamples: 300 })
      if (low <= 0.4 && 0.4 <= high) covered++
    }
    assert.ok(covered / trials > 0.9 && covered / trials < 0.99, String(covered / trials))
  })

  it('counts seeds as well as items', () => {
    const items = binary(1, 200)
    const same = bootstrapInterval([items, items, items])
    assert.ok(Math.abs(width(same) / width(bootstrapInterval(items)) - 1) < 0.1) // identical seeds tell nothing new
    const scattered = bootstrapInterval([0.2, 0.5, 0.8].map(p => binary(9, 200, p)))
    assert.ok(width(scattered) > 2 * width(same))
  })

  it('names what does not fit', () => {
    assert.throws(() => bootstrapInterval([]), /bootstrapInterval: got no values/)
    assert.throws(() => bootstrapInterval([[], []]), /got no values/)
    assert.throws(() => bootstrapInterval([1, NaN]), /value 1 of row 0 is NaN/)
    assert.throws(() => bootstrapInterval([[1, 2], [1]]), /seeds have 2, 1 items/)
    assert.throws(() => bootstrapInterval([1], { level: 95 }), /level is 95, needed a number between 0 and 1/)
    assert.throws(() => bootstrapInterval([1], { resamples: 0 }), /resamples is 0/)
  })
})
