import assert from 'node:assert/strict'
import { meanInterval, tQuantile } from '../../src/plots/meanInterval.js'

describe('plots/meanInterval', () => {
  it('has the quantiles of Student t', () => {
    // scipy.stats.t.ppf, SciPy 1.x
    const expected: [p: number, df: number, t: number][] = [
      [0.975, 1, 12.706204736174694],
      [0.975, 2, 4.302652729749462],
      [0.975, 3, 3.1824463052837078],
      [0.975, 4, 2.7764451051977934],
      [0.975, 9, 2.262157162798205],
      [0.975, 30, 2.0422724563012378],
      [0.95, 2, 2.9199855803537242],
      [0.95, 30, 1.697260886593957],
    ]
    for (const [p, df, t] of expected) assert.ok(Math.abs(tQuantile(p, df) - t) < 1e-9 * t, `t(${p}, ${df})`)
  })

  it('is mean ± t·s/√n', () => {
    // 1, 2, 3: s = 1, half width 4.302652729749462 / √3
    const { mean, low, high, n } = meanInterval([1, 2, 3])
    assert.equal(mean, 2)
    assert.equal(n, 3)
    assert.ok(Math.abs(high! - 2 - 2.4841377117) < 1e-8 && Math.abs(low! + high! - 4) < 1e-12)
  })

  it('has no bounds for one value, and refuses none and a level out of range', () => {
    assert.deepEqual(meanInterval([5]), { mean: 5, low: null, high: null, n: 1 })
    assert.throws(() => meanInterval([]), /no values/)
    assert.throws(() => meanInterval([1], 95), /level is 95, needed a number in \(0, 1\)/)
  })
})
