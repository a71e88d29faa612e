import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { jit, scan, start, whileLoop } from '../../src/xla/index.js'
import { agrees, onCpu } from './agree.js'

/* A state is typed by what it starts with: any tensor. */
const scalar: (value: number, dtype?: 'float32' | 'int32') => tf.Tensor = tf.scalar
const zeros: (shape: number[]) => tf.Tensor = tf.zeros

describe('whileLoop', function () {
  this.timeout(60_000) // compiling takes what other work on the machine leaves
  before(() => start({ backend: 'xla' }))

  it('stops when the condition fails, lazy and jitted', () => {
    const collatz = (n: tf.Tensor) =>
      whileLoop(
        s => tf.greater(s.n, 1),
        s => ({
          steps: tf.add(s.steps, tf.scalar(1, 'int32')),
          n: tf.where(tf.equal(tf.mod(s.n, 2), 0), tf.div(s.n, 2), tf.add(tf.mul(s.n, 3), 1)),
        }),
        { n, steps: scalar(0, 'int32') },
      ).steps
    assert.equal(collatz(tf.scalar(27)).dataSync()[0], 111)
    assert.equal(jit(collatz)(tf.scalar(6)).dataSync()[0], 8)
  })

  it('reads closed-over tensors', () => {
    const limit = tf.scalar(20)
    const factor = tf.scalar(3)
    const x = whileLoop(
      (s: tf.Tensor) => tf.less(s, limit),
      s => tf.mul(s, factor),
      scalar(1),
    )
    assert.equal(x.dataSync()[0], 27)
  })

  /** Newton's method for √a, until the error is small. */
  const root = (a: tf.Tensor, maxSteps?: number) =>
    whileLoop(
      (x: tf.Tensor) => tf.greater(tf.abs(tf.sub(tf.square(x), a)), 1e-3),
      (x: tf.Tensor) => tf.mul(tf.add(x, tf.div(a, x)), 0.5),
      scalar(1),
      { maxSteps },
    )

  it('with maxSteps is differentiated, alone and in a scan', async () => {
    await agrees(a => root(a, 8), [tf.scalar(2)])
    await agrees(
      xs => scan((c: tf.Tensor, x: tf.Tensor) => [tf.mul(c, root(x, 6)), null], scalar(1), xs)[0],
      [tf.tensor1d([2, 1.5])],
    )
  })

  it('ends after maxSteps, under a gradient or not, here and on the CPU backend', async () => {
    const power = (x: tf.Tensor) =>
      whileLoop(
        () => tf.scalar(true, 'bool'),
        (y: tf.Tensor) => tf.mul(y, x),
        scalar(1),
        { maxSteps: 3 },
      )
    const both = () => {
      const { value, grad } = tf.valueAndGrad((x: tf.Tensor) => power(x))(tf.scalar(2))
      return [power(tf.scalar(2)), value, grad].map(t => t.dataSync()[0])
    }
    assert.deepEqual(both(), [8, 8, 12])
    assert.deepEqual(await onCpu(both), [8, 8, 12])
    assert.equal(jit(power)(tf.scalar(2)).dataSync()[0], 8)
  })

  it('without, says that it has no gradient, if one is needed', () => {
    assert.throws(() => tf.grad(a => root(a))(tf.scalar(2)), /gradient of "whileLoop".*maxSteps/)
    const beside = tf.grad((x: tf.Tensor) => (root(x), tf.square(x)))
    assert.equal(beside(tf.scalar(2)).dataSync()[0], 4)
  })

  it('refuses a state that changes shape, type or structure', () => {
    const yes = () => tf.scalar(true, 'bool')
    assert.throws(() => whileLoop(yes, (s: tf.Tensor) => tf.concat([s, s]), zeros([1])), /needed tensor<1xf32>/)
    assert.throws(
      () => whileLoop(yes, (s: Record<string, tf.Tensor>) => ({ b: s['a']! }), { a: zeros([1]) }),
      /the state has b; needed a/,
    )
  })
})
