import assert from 'node:assert/strict'
import { preferenceAccuracy } from '../../src/metrics/index.js'

describe('preferenceAccuracy', () => {
  it('counts strict preferences; a tie is a miss', () => {
    assert.equal(preferenceAccuracy([1, 2, 3, -1], [0, 2, 4, -2]), 1 / 2)
    assert.equal(preferenceAccuracy([0, 0], [0, 0]), 0)
  })

  it('refuses lists that do not pair', () => {
    assert.throws(() => preferenceAccuracy([1], []), /got no values/)
    assert.throws(() => preferenceAccuracy([1, 2], [1]), /preferenceAccuracy: got 2 values and 1/)
  })
})
