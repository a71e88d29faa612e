import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { dynamicSlice, dynamicUpdateSlice, start } from '../../src/xla/index.js'

describe('dynamic slices', function () {
  this.timeout(30_000) // compiling takes what other work on the machine leaves
  before(() => start({ backend: 'xla' }))

  const x = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2])
  it('reads and writes at computed starts, clamped', () => {
    assert.deepEqual([...dynamicSlice(x, [tf.scalar(1, 'int32'), 0], [2, 1]).dataSync()], [3, 5])
    assert.deepEqual([...dynamicSlice(x, [tf.scalar(9, 'int32'), 0], [1, 2]).dataSync()], [5, 6])
    const written = dynamicUpdateSlice(x, tf.tensor2d([[9, 9]]), [tf.scalar(1, 'int32'), 0])
    assert.deepEqual([...written.dataSync()], [1, 2, 9, 9, 5, 6])
  })

  it('passes gradients to what was read, and to what was not overwritten', () => {
    const at = [tf.scalar(1, 'int32'), 0]
    const read = tf.grad(y => tf.sum(tf.square(dynamicSlice(y, at, [1, 2]))))(x)
    assert.deepEqual([...read.dataSync()], [0, 0, 6, 8, 0, 0])
    const [dx, du] = tf.grads((y, u) => tf.sum(tf.square(dynamicUpdateSlice(y, u, at))))([x, tf.tensor2d([[7, 8]])])
    assert.deepEqual([...dx!.dataSync()], [2, 4, 0, 0, 10, 12])
    assert.deepEqual([...du!.dataSync()], [14, 16])
  })

  it('needs one start an axis', () => {
    assert.throws(() => dynamicSlice(x, [0], [1, 2]), /1 starts for a tensor of rank 2/)
  })
})
