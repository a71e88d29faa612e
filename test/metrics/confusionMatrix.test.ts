import assert from 'node:assert/strict'
import { confusionMatrix } from '../../src/metrics/index.js'
import { reference } from './reference.js'

describe('confusionMatrix', () => {
  it('equals scikit-learn, with true classes down', () => {
    for (const { truth, predicted, labels, confusion } of reference.classification)
      if (labels === null) assert.deepEqual(confusionMatrix(truth, predicted).counts, confusion)
  })

  it('counts every item, and gives what is no class a column of its own', () => {
    assert.deepEqual(confusionMatrix(['b', 'a', 'a'], ['b', null, 'x'], { labels: ['a', 'b'] }), {
      labels: ['a', 'b', 'none'],
      counts: [
        [0, 0, 2],
        [0, 1, 0],
        [0, 0, 0],
      ],
    })
    assert.deepEqual(confusionMatrix(['b'], ['b'], { labels: ['a', 'b'] }).labels, ['a', 'b'])
  })

  it('names a true label that is not among the given ones', () => {
    assert.throws(
      () => confusionMatrix(['a', 'c'], ['a', 'a'], { labels: ['a'] }),
      /row 1: the true label is c, needed one of a/,
    )
  })
})
