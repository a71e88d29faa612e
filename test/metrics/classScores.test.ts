import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import { accuracy, classScores, f1, precision, recall } from '../../src/metrics/index.js'
import { near, reference } from './reference.js'

describe('accuracy, precision, recall, f1, classScores', () => {
  it('equal scikit-learn by class and under every average', () => {
    for (const { truth, predicted, labels, ...expected } of reference.classification) {
      const options = labels === null ? {} : { labels }
      assert.ok(near(accuracy(truth, predicted), expected.accuracy))
      classScores(truth, predicted, options).forEach((score, k) => {
        const want = expected.classes[k]!
        for (const key of ['precision', 'recall', 'f1', 'support'] as const)
          assert.ok(near(score[key], want[key]), `${score.label} ${key}: ${score[key]}, not ${want[key]}`)
      })
      for (const average of ['macro', 'micro', 'weighted'] as const)
        for (const [key, metric] of Object.entries({ precision, recall, f1 }))
          assert.ok(
            near(metric(truth, predicted, { ...options, average }), expected.averages[average][key as 'f1']),
            `${average} ${key}`,
          )
    }
  })

  it('are as worked out by hand', () => {
    const truth = ['a', 'a', 'a', 'b']
    const predicted = ['a', 'b', null, 'b']
    assert.equal(accuracy(truth, predicted), 1 / 2)
    assert.deepEqual(classScores(truth, predicted), [
      { label: 'a', precision: 1, recall: 1 / 3, f1: 1 / 2, support: 3 },
      { label: 'b', precision: 1 / 2, recall: 1, f1: 2 / 3, support: 1 },
    ])
    assert.ok(near(f1(truth, predicted), 7 / 12))
    assert.equal(recall(truth, predicted, { positive: 'a' }), 1 / 3)
    assert.equal(precision(truth, predicted, { positive: 'c' }), 0)
  })

  it('hold the relations between them', () => {
    for (const { truth, predicted } of reference.classification) {
      assert.ok(near(f1(truth, predicted), f1(predicted, truth)))
      assert.ok(near(precision(truth, predicted), recall(predicted, truth)))
      assert.ok(near(recall(truth, predicted, { average: 'weighted' }), accuracy(truth, predicted)))
      assert.equal(f1(truth, truth), 1)
    }
  })

  it('take tensors', () => {
    const [truth, predicted] = [tf.tensor1d([0, 1, 1], 'int32'), tf.tensor1d([0, 1, 0], 'int32')]
    assert.equal(accuracy(truth, predicted), 2 / 3)
    assert.equal(recall(truth, predicted, { positive: 1 }), 1 / 2)
    tf.dispose([truth, predicted])
  })

  it('name what does not fit', () => {
    assert.throws(() => accuracy([], []), /accuracy: got no values/)
    assert.throws(() => accuracy(['a'], ['a', 'b']), /accuracy: got 1 values and 2, needed as many/)
    assert.throws(() => f1(['a', null as unknown as string], ['a', 'b']), /row 1: the true label is null/)
  })
})
