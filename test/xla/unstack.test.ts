import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { astype, copy, disposeTree, jit, memory, start, unstack } from '../../src/xla/index.js'

describe('unstack', () => {
  before(() => start())

  it('gives the slices along the first axis, without copying', async () => {
    const x = tf.reshape(tf.range(0, 3 * 4 * 16), [3, 4, 16])
    await x.data()
    const before = memory()!.bytes
    const parts = await unstack({ x }, 3)
    assert.equal(memory()!.bytes, before)
    const rows = await Promise.all(parts.map(p => tf.sum(p.x, [0, 1]).data()))
    assert.deepEqual(rows.map(r => r[0]), [0, 1, 2].map(i => (64 * (2 * 64 * i + 63)) / 2)) // prettier-ignore
    disposeTree([x, parts])
  })

  it('copies slices whose memory would not be aligned', async () => {
    const x = tf.tensor2d([[1, 2, 3], [4, 5, 6]]) // prettier-ignore
    const parts = await unstack(x, 2)
    assert.deepEqual([...(await parts[1]!.data())], [4, 5, 6])
    disposeTree([x, parts])
  })

  it('keeps memory while a view or a program needs it, and no longer', async () => {
    const before = memory()!
    const n = 512
    const x: tf.Tensor = copy(tf.ones([2, n, n]))
    await x.data()
    const parts = await unstack(x, 2)
    const slow = jit((a: tf.Tensor) => tf.tidy(() => {
      let y = a
      for (let i = 0; i < 20; i++) y = tf.div(tf.matMul(y, a), n)
      return tf.mean(y)
    })) // prettier-ignore
    await slow.async(parts[0]!) // compiled
    const results = Array.from({ length: 5 }, () => slow(parts[1]!))
    x.dispose()
    disposeTree(parts)
    const overwrite = Array.from({ length: 8 }, (_, i) => tf.fill([2, n, n], i + 2))
    await Promise.all(overwrite.map(t => tf.sum(t).data()))
    for (const r of results) assert.equal((await r.data())[0], 1)
    disposeTree([results, overwrite])
    await new Promise(resolve => setTimeout(resolve, 10))
    assert.ok(memory()!.bytes <= before.bytes + 1e5, `${memory()!.bytes - before.bytes} bytes left`)
  })

  it('refuses to donate what has views, and a view', async () => {
    const x = copy(tf.ones([2, 64]))
    const parts = await unstack(x, 2)
    const update = jit((w: tf.Tensor) => tf.add(w, 1), { donate: [0] })
    assert.throws(() => update(x), /donated/)
    assert.throws(() => update(parts[0]!), /donated/)
    disposeTree(parts)
    const next = update(x)
    assert.equal((await next.data())[0], 2)
    next.dispose()
  })

  it('keeps element types', async () => {
    const x = astype(tf.fill([2, 64], 1.5), 'bf16')
    const parts = await unstack(x, 2)
    assert.deepEqual([...(await parts[1]!.data())].slice(0, 2), [1.5, 1.5])
    disposeTree([x, parts])
  })
})
