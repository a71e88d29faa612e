import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { cond, copy, debugNans, disposeTree, jit, NanError, scan, start, whileLoop } from '../../src/xla/index.js'

describe('debugNans', function () {
  this.timeout(60_000)
  before(() => start({ backend: 'xla' }))
  after(() => debugNans(false))

  /** The error of `f`, run while NaN is searched for. */
  function told(f: () => unknown): string {
    try {
      debugNans(() => tf.tidy(() => void f()))
    } catch (error) {
      assert.ok(error instanceof NanError, String(error))
      return error.message
    }
    return assert.fail('no NaN was found')
  }

  it('names the kernel, its inputs and the line, as soon as the operation is called', () => {
    const x = tf.tensor1d([1, -1, 2])
    const message = told(() => {
      tf.exp(tf.log(x))
      assert.fail('too late')
    })
    assert.match(
      message,
      /Log gave f32\[3\] with 1 NaN of 3.* from x f32\[3\] between -1\.000 and 2\.000, at .*nans\.test\.js:/,
    )
    x.dispose()
  })

  it('runs a jitted function again kernel by kernel; its arguments stay, also donated ones', async () => {
    const loss = jit(
      (s: { w: tf.Tensor; b: tf.Tensor }) => ({ w: tf.add(s.w, s.b), loss: tf.sum(tf.sqrt(tf.sub(s.w, 2))) }),
      { donate: [0], name: 'loss' },
    )
    const bad = { w: copy(tf.tensor1d([5, 1])), b: copy(tf.scalar(1)) }
    assert.match(
      told(() => loss(bad)),
      /in "loss", Sqrt gave f32\[2\] with 1 NaN of 2/,
    )
    await assert.rejects(
      debugNans(() => loss.async(bad)),
      /in "loss", Sqrt/,
    )
    assert.deepEqual([...bad.w.dataSync()], [5, 1])
    const good = { w: copy(tf.tensor1d([3, 11])), b: copy(tf.scalar(1)) }
    const result = debugNans(() => loss(good))
    assert.deepEqual([...result.w.dataSync(), ...result.loss.dataSync()], [4, 12, 4])
    assert.throws(() => good.w.dataSync(), /donated to "loss"/, 'without a NaN it is as ever')
    disposeTree([bad, result])
  })

  it('looks into gradients, loops and branches, jitted or not', () => {
    const slope = (x: tf.Tensor) => tf.grad(v => tf.sum(tf.mul(tf.sqrt(v), 0)))(tf.mul(x, 0)) // 0 · ∞
    const scanned = (x: tf.Tensor) =>
      scan((c, k: tf.Tensor) => [tf.add(tf.log(c), k), null], x, tf.tensor1d([1, -5, 1]))[0]
    const looped = (x: tf.Tensor) => whileLoop(s => tf.greater(tf.add(s, 1), s), s => tf.asin(tf.add(s, 1)), x) // prettier-ignore
    const branched = (x: tf.Tensor) => cond(tf.greater(x, 0), () => tf.acos(tf.add(x, 3)), () => x) // prettier-ignore
    const x = tf.scalar(1)
    for (const [f, kernel] of [
      [slope, /(Multiply|RealDiv|Div) gave/],
      [scanned, /Log gave/],
      [looped, /Asin gave/],
      [branched, /Acos gave/],
    ] as const) {
      assert.match(
        told(() => f(x)),
        kernel,
      )
      assert.match(
        told(() => jit(f, { name: 'within' })(x)),
        new RegExp(`in "within", ${kernel.source}`),
      )
    }
    x.dispose()
  })

  it('leaves variables as they were, and is off afterwards', () => {
    const v = tf.variable(tf.scalar(-1))
    const f = jit(() => {
      v.assign(tf.sub(v, 1))
      return tf.sqrt(v)
    })
    assert.match(told(f), /Sqrt/)
    assert.deepEqual([...v.dataSync()], [-1])
    assert.ok(Number.isNaN(tf.sqrt(v).dataSync()[0]))
    v.dispose()
  })
})
