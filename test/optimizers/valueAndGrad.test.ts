import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { valueAndGrad } from '../../src/optimizers/index.js'
import { stopGradient } from '../../src/optimizers/stopGradient.js'
import { start } from '../../src/xla/index.js'

describe('valueAndGrad', () => {
  before(() => start())

  it('gives value, by-products and gradients in the structure of the tree', () => {
    const tree = { a: tf.scalar(3), layers: [tf.tensor1d([1, 2])], unused: tf.zeros([2, 2]) }
    const { value, aux, grads } = valueAndGrad(({ a, layers }) => {
      const squares = tf.sum(tf.square(layers[0]!))
      return { value: tf.mul(a, squares), aux: { squares, given: a } }
    }, tree)
    assert.equal(value.dataSync()[0], 15)
    assert.equal(aux.squares.dataSync()[0], 5)
    assert.equal(aux.given.dataSync()[0], 3)
    assert.equal(grads.a.dataSync()[0], 5)
    assert.deepEqual(Array.from(grads.layers[0]!.dataSync()), [6, 12])
    assert.deepEqual(Array.from(grads.unused.dataSync()), [0, 0, 0, 0])
    assert.equal(tree.a.isDisposed, false)
  })

  it('keeps only what it returns', () => {
    const tree = { a: tf.scalar(3) }
    const before = tf.memory().numTensors
    const result = valueAndGrad(({ a }) => ({ value: tf.square(a), aux: { double: tf.mul(a, 2) } }), tree)
    assert.equal(tf.memory().numTensors, before + 3)
    tf.dispose(result)
    assert.equal(tf.memory().numTensors, before)
  })

  it('stopGradient is the identity without a gradient', () => {
    const { value, grads } = valueAndGrad(({ a }) => ({ value: tf.mul(stopGradient(a), a), aux: {} }), {
      a: tf.scalar(3),
    })
    assert.equal(value.dataSync()[0], 9)
    assert.equal(grads.a.dataSync()[0], 3)
  })
})
