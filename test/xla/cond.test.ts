import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { cond, jit, memory, scan, start } from '../../src/xla/index.js'
import { agrees } from './agree.js'
import { Draw } from './draw.js'

const positive = (x: tf.Tensor) => tf.greater(tf.sum(x), 0)

describe('cond', function () {
  this.timeout(60_000) // compiling takes what other work on the machine leaves
  let x: tf.Tensor, w: tf.Tensor
  before(async () => {
    await start({ backend: 'xla' })
    ;[x, w] = [tf.tensor1d([0.5, -0.2, 0.4]), new Draw(1).uniform([3], 0.2, 1)]
  })

  it('takes one branch, lazy and jitted, and is right about keys in another order', () => {
    const f = (p: tf.Tensor, x: tf.Tensor) =>
      cond(
        p,
        () => ({ a: tf.add(x, 1), b: x }),
        () => ({ b: tf.neg(x), a: tf.mul(x, 10) }),
      )
    for (const run of [f, jit(f)])
      for (const [p, a, b] of [
        [true, 4, 3],
        [false, 30, -3],
      ] as const) {
        const got = run(tf.scalar(p, 'bool'), tf.scalar(3))
        assert.deepEqual([got.a.dataSync()[0], got.b.dataSync()[0]], [a, b])
      }
  })

  for (const sign of [1, -1])
    it(`is differentiated with regard to what its branches read, the ${sign > 0 ? 'first' : 'second'} taken`, () =>
      agrees(
        (x, w) => {
          const { a, b, n } = cond<Record<'a' | 'b' | 'n', tf.Tensor>>(
            positive(x),
            () => ({ a: tf.mul(tf.sin(x), w), b: x, n: tf.scalar(2, 'int32') }),
            () => ({ a: tf.exp(x), b: tf.mul(tf.square(w), 3), n: tf.scalar(3, 'int32') }),
          )
          return tf.mul(tf.sum(tf.mul(tf.add(a, x), b)), tf.cast(n, 'float32'))
        },
        [tf.mul(x, sign), w],
      ))

  it('in a scan, and a scan in it', () =>
    agrees(
      (w, init, xs) => {
        const body = (c: tf.Tensor, x: tf.Tensor): [tf.Tensor, tf.Tensor] => {
          const next = cond(
            positive(x),
            () => scan((c: tf.Tensor) => [tf.tanh(tf.mul(tf.add(c, x), w)), null], c, null, { length: 3 })[0],
            () => tf.add(c, tf.mul(x, 0.1)),
          )
          return [next, tf.mul(next, x)]
        }
        const [last, ys] = scan(body, init, xs)
        return tf.add(tf.sum(last), tf.sum(tf.square(ys)))
      },
      [w, x, tf.tensor2d([0.3, 0.1, 0.2, -0.3, -0.1, -0.2, 0.5, 0.1, -0.3], [3, 3])],
    ))

  it('in a cond', () =>
    agrees(
      (x, w) => {
        const inner = (y: tf.Tensor) =>
          cond(
            positive(tf.sub(y, 1)),
            () => tf.mul(y, w),
            () => tf.mul(y, tf.square(w)),
          )
        return tf.sum(
          cond(
            positive(x),
            () => inner(tf.sin(x)),
            () => w,
          ),
        )
      },
      [x, w],
    ))

  it('computes nothing of the branch that is not taken, nor its gradient', () => {
    const root = tf.grad((x: tf.Tensor) =>
      cond(
        tf.greater(x, 0),
        () => tf.sqrt(x),
        () => tf.neg(x),
      ),
    )
    assert.deepEqual([...root(tf.scalar(4)).dataSync(), ...root(tf.scalar(0)).dataSync()], [0.25, -1])
  })

  it('refuses branches of different shapes or structure, and a second derivative', () => {
    const p = tf.scalar(true, 'bool')
    assert.throws(
      () =>
        cond(
          p,
          () => tf.zeros([2]),
          () => tf.zeros([3]),
        ),
      /second branch.*tensor<3xf32>, needed tensor<2xf32>/,
    )
    assert.throws(
      () =>
        cond<Record<string, tf.Tensor>>(
          p,
          () => ({ a: x }),
          () => ({ b: x }),
        ),
      /second branch has b; needed a/,
    )
    const f = (x: tf.Tensor) =>
      tf.sum(
        cond(
          p,
          () => tf.square(x),
          () => x,
        ),
      )
    assert.throws(() => tf.grad(x => tf.sum(tf.grad(f)(x)))(x), /second derivative of "cond"/)
  })

  it('holds nothing after its gradient, computed or not', () => {
    const f = (x: tf.Tensor) =>
      cond(
        positive(x),
        () => tf.mul(x, w),
        () => tf.exp(x),
      )
    const before = memory()!.buffers
    tf.tidy(() =>
      tf
        .grad(x => tf.sum(f(x)))(x)
        .dataSync(),
    )
    tf.tidy(() =>
      tf
        .grad(x => (f(x), tf.sum(x)))(x)
        .dataSync(),
    )
    assert.equal(memory()!.buffers, before)
  })
})
