import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { keepLikely } from '../../src/sampling/index.js'
import { jit, start } from '../../src/xla/index.js'

describe('keepLikely', () => {
  before(() => start())

  const program = jit(keepLikely)
  const keep = (top_k: number, top_p: number, min_p: number) => ({
    top_k: tf.scalar(top_k, 'int32'),
    top_p: tf.scalar(top_p),
    min_p: tf.scalar(min_p),
  })

  /** Tokens kept of a row with probabilities .1 .4 .2 .3. */
  async function kept(top_k: number, top_p: number, min_p = 0): Promise<number[]> {
    const logits = tf.log(tf.tensor2d([[0.1, 0.4, 0.2, 0.3]]))
    const [found, given] = await Promise.all([program(logits, keep(top_k, top_p, min_p)).data(), logits.data()])
    return Array.from(found.keys()).filter(i => {
      assert.ok(found[i] === given[i] || found[i]! <= -1e9)
      return found[i] === given[i]
    })
  }

  it('keeps all with top_k 0 and top_p 1', async () => assert.deepEqual(await kept(0, 1), [0, 1, 2, 3]))
  it('keeps the k likeliest', async () => {
    assert.deepEqual(await kept(1, 1), [1])
    assert.deepEqual(await kept(3, 1), [1, 2, 3])
    assert.deepEqual(await kept(9, 1), [0, 1, 2, 3])
  })
  it('keeps the fewest that sum to at least p', async () => {
    assert.deepEqual(await kept(0, 0.39), [1])
    assert.deepEqual(await kept(0, 0.5), [1, 3]) // .4 falls short of .5
    assert.deepEqual(await kept(0, 0.85), [1, 2, 3])
    assert.deepEqual(await kept(0, 1e-6), [1])
  })
  it('takes the nucleus of what top_k left, renormalised', async () => {
    assert.deepEqual(await kept(2, 0.57), [1]) // .4/.7 = .571
    assert.deepEqual(await kept(2, 0.58), [1, 3])
  })
  it('keeps what is likely enough beside the likeliest', async () => {
    assert.deepEqual(await kept(0, 1, 0.7), [1, 3]) // .3 / .4 = .75
    assert.deepEqual(await kept(0, 1, 0.2), [0, 1, 2, 3])
    assert.deepEqual(await kept(3, 1, 0.2), [1, 2, 3])
    assert.deepEqual(await kept(0, 1, 1), [1])
  })
  it('treats rows apart, and keeps ties', async () => {
    const logits = tf.tensor2d([
      [0, 0, -5],
      [-5, 3, 0],
    ])
    const found = await keepLikely(logits, keep(1, 1, 0)).data()
    assert.deepEqual(
      Array.from(found, x => x > -1e9),
      [true, true, false, false, true, false],
    )
  })
})
