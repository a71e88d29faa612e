import assert from 'node:assert/strict'
import { backend } from '../../src/xla/backend.js'
import { start } from '../../src/xla/index.js'

/** Enough for the optimising compiler, which forgets what is not used again, and for many collections. */
const ROUNDS = 100_000

describe('pjrt', function () {
  this.timeout(30_000)
  before(() => start({ backend: 'xla' }))

  it('what a call points to is not collected during the call', () => {
    const { client } = backend().engine
    const values = new Float32Array(12)
    for (let i = 0; i < ROUNDS; i++) {
      values.fill(i)
      const buffer = client.upload(new Uint8Array(values.buffer), [12], 'f32')
      const read = new Float32Array(buffer.read().buffer)
      if (read.length !== 12 || read[0] !== i || read[11] !== i) assert.fail(`${read.join()} instead of ${i}`)
      buffer.destroy()
    }
  })
})
