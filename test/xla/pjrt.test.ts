import assert from 'node:assert/strict'
import { backend } from '../../src/xla/backend.js'
import { start } from '../../src/xla/index.js'
import { Block, struct, words } from '../../src/xla/pjrt/memory.js'
import { collect } from '../collect.js'

describe('pjrt', function () {
  this.timeout(30_000)
  before(() => start({ backend: 'xla' }))

  it('a block holds what it points to', async () => {
    const settled = async (): Promise<void> => {
      await new Promise(resolve => setTimeout(resolve)) // a WeakRef's target lives until the task ends
      collect()
    }
    const made = (): { outer: Block | null; inner: WeakRef<Block> } => {
      const inner = new Block(64)
      return { outer: struct(words([inner])), inner: new WeakRef(inner) }
    }
    const held = made()
    await settled()
    assert.ok(held.inner.deref(), 'reachable from the struct')
    held.outer = null
    await settled()
    assert.equal(held.inner.deref(), undefined, 'and only from there')
  })

  it('thousands of uploads come back as they were', () => {
    const { client } = backend().engine
    const values = new Float32Array(12)
    for (let i = 0; i < 20_000; i++) {
      values.fill(i)
      const buffer = client.upload(new Uint8Array(values.buffer), [12], 'f32')
      const read = new Float32Array(buffer.read().buffer)
      if (read.length !== 12 || read[0] !== i || read[11] !== i) assert.fail(`${read.join()} instead of ${i}`)
      buffer.destroy()
    }
  })
})
