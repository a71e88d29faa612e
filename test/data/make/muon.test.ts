import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { muon } from '../../../data/make/muon.js'
import { random, start } from '../../../src/xla/index.js'

/** Five iterations with Muon's coefficients leave singular values in this range, not at 1. */
const SINGULAR_VALUES = [0.65, 1.25] as const
const RATE = 0.5

describe('muon', () => {
  before(() => start())

  for (const [rows, columns] of [
    [24, 8],
    [8, 24],
    [16, 16],
  ] as const)
    // prettier-ignore
    it(`moves a stack of ${rows} × ${columns} matrices in orthogonal directions`, () => {
      tf.tidy(() => {
        const [w, grad] = [1, 2].map(seed => random.normal(random.key(seed), [3, rows, columns])) as [tf.Tensor, tf.Tensor]
        const { weight, momentum } = muon(w, grad, tf.zerosLike(w), tf.scalar(RATE))
        assert.deepEqual(momentum.dataSync(), grad.dataSync())

        const step = tf.div(tf.sub(w, weight), RATE * Math.sqrt(Math.max(1, rows / columns)))
        const short = Math.min(rows, columns)
        const v = random.normal(random.key(3), [3, short, 50]) // directions of the shorter side
        const moved = tf.matMul(step, v, rows < columns, false)
        const lengths = (t: tf.Tensor) => tf.sqrt(tf.sum(tf.square(t), 1)) // [3, 50]
        const stretch = Array.from(tf.div(lengths(moved), lengths(v)).dataSync())
        assert.ok(Math.min(...stretch) > SINGULAR_VALUES[0], `${Math.min(...stretch)}`)
        assert.ok(Math.max(...stretch) < SINGULAR_VALUES[1], `${Math.max(...stretch)}`)

        const along = tf.sum(tf.mul(step, grad), [1, 2]).dataSync()
        assert.ok(along.every(x => x > 0), 'each step descends') // prettier-ignore
      })
    })

  it('does not depend on the scale of the gradient, and stays where it is zero', () => {
    tf.tidy(() => {
      const [w, grad] = [1, 2].map(seed => random.normal(random.key(seed), [2, 6, 4])) as [tf.Tensor, tf.Tensor]
      const moved = (scale: number) =>
        Array.from(muon(w, tf.mul(grad, scale), tf.zerosLike(w), tf.scalar(RATE)).weight.dataSync())
      const [once, tiny] = [moved(1), moved(1e-4)]
      once.forEach((x, i) => assert.ok(Math.abs(x - tiny[i]!) < 1e-3))
      assert.deepEqual(moved(0), Array.from(w.dataSync()))
    })
  })
})
