import assert from 'node:assert/strict'
import { paretoFront, weightSweep } from '../../src/plots/index.js'

const front = (points: [number, number][]) => paretoFront(points, p => p)

describe('plots/weightSweep', () => {
  it('keeps what nothing beats in both aims', () => {
    assert.deepEqual(front([[1, 1], [3, 1], [2, 2], [0, 3], [2, 0]]), [[0, 3], [2, 2], [3, 1]]) // prettier-ignore
  })

  it('drops points that are equalled in one aim and beaten in the other, and copies', () => {
    assert.deepEqual(front([[1, 2], [1, 1], [0, 2], [1, 2]]), [[1, 2]]) // prettier-ignore
  })

  it('refuses a row without one of the aims', () => {
    assert.throws(() => weightSweep([{ a: 1 }], { x: 'a', y: 'b' }), /lacks a number under "b"; it has a/)
    assert.throws(() => weightSweep([{ a: 1, b: 2 }], { x: 'a', y: 'b' }), /no text or number "name"/)
    assert.throws(() => weightSweep([], { x: 'a', y: 'b' }), /got no rows/)
  })
})
