import assert from 'node:assert/strict'
import { rankCorrelation } from '../../src/metrics/index.js'

const ROUNDING = 1e-12

describe('rankCorrelation', () => {
  const near = (x: number[], y: number[], wanted: number) =>
    assert.ok(Math.abs(rankCorrelation(x, y) - wanted) < ROUNDING, `${rankCorrelation(x, y)}, not ${wanted}`)

  it('is 1 for the same order, −1 for the reverse, whatever the values', () => {
    near([1, 2, 30], [-5, 0, 0.1], 1)
    near([1, 2, 30], [3, 2, -8], -1)
  })

  it('is one less 6 Σd² / n(n² − 1) without ties, Pearson\u2019s of mean ranks with them', () => {
    near([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 1 - (6 * 4) / (5 * 24))
    near([1, 2, 2, 3], [1, 2, 3, 4], 4.5 / Math.sqrt(4.5 * 5)) // scipy 1.16: 0.9486832980505138
  })

  it('of a constant list is no number; lists must pair', () => {
    assert.ok(Number.isNaN(rankCorrelation([1, 1], [1, 2])))
    assert.throws(() => rankCorrelation([1], [1, 2]), /rankCorrelation: got 1 values and 2/)
    assert.throws(() => rankCorrelation([], []), /rankCorrelation: got no values/)
  })
})
