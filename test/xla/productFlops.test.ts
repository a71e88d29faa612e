import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { valueAndGrad } from '../../src/optimizers/index.js'
import { jit, productFlops, scan, start } from '../../src/xla/index.js'

describe('productFlops', () => {
  before(() => start())

  const [B, C, L] = [3, 4, 7]
  const layers = (w: tf.Tensor, x: tf.Tensor) => scan((x, w) => [tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), null], x, w)[0] // prettier-ignore

  it('counts products, in a loop as often as it runs, and in its gradient', () => {
    const [w, x] = [tf.ones([L, C, C]), tf.ones([B, C])]
    const forward = 2 * B * C * C
    const product = jit((x: tf.Tensor) => tf.einsum('bc,dc->bd', x, x))
    assert.equal(productFlops(product.lower(x)), 2 * B * B * C)
    assert.equal(productFlops(jit(layers).lower(w, x)), L * forward)
    const gradient = jit((w: tf.Tensor, x: tf.Tensor) => valueAndGrad(w => ({ value: tf.sum(layers(w, x)), aux: {} }), w).grads) // prettier-ignore
    assert.equal(productFlops(gradient.lower(w, x)), 3 * L * forward)
    const twice = jit((w: tf.Tensor, x: tf.Tensor) => scan(x => [layers(w, x), null], x, null, { length: 2 })[0])
    assert.equal(productFlops(twice.lower(w, x)), 2 * L * forward)
  })
})
