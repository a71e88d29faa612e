import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { drawTokens } from '../../src/sampling/drawTokens.js'
import { jit, random, start } from '../../src/xla/index.js'

describe('drawTokens', () => {
  before(() => start())

  const draw = jit((key: tf.Tensor, logits: tf.Tensor) =>
    tf.tidy(() => drawTokens(random.uniform(key, [logits.shape[0]]), logits)),
  )
  const drawn = async (seed: number, row: readonly number[], times: number): Promise<Int32Array> => {
    const logits = tf.tile(tf.tensor2d([[...row]]), [times, 1])
    return (await draw(random.key(seed), logits).data()) as Int32Array
  }

  it('draws as often as softmax says, from several blocks and the last one not full', async () => {
    const row = Array.from({ length: 300 }, (_, i) => Math.sin(i) - (i % 7 === 0 ? 1e9 : 0))
    const times = 30000
    const tokens = await drawn(1, row, times)
    const weights = row.map(Math.exp)
    const total = weights.reduce((a, b) => a + b)
    const counts = new Float64Array(row.length)
    tokens.forEach(t => counts[t]!++)
    const chiSquared = weights.reduce((sum, w, i) => {
      const expected = (w / total) * times
      if (expected === 0) assert.equal(counts[i], 0, `token ${i} has no probability`)
      return expected === 0 ? sum : sum + (counts[i]! - expected) ** 2 / expected
    }, 0)
    const freedom = weights.filter(w => w > 0).length - 1
    const bound = freedom + 4 * Math.sqrt(2 * freedom) // four standard deviations of its distribution
    assert.ok(chiSquared < bound, `χ² ${chiSquared}, needed below ${bound}`)
  })

  it('finds the only token that can be, wherever it stands', async () => {
    for (const at of [0, 127, 128, 255, 299]) {
      const row = Array.from({ length: 300 }, (_, i) => (i === at ? 3 : -1e9))
      assert.deepEqual(new Set(await drawn(at, row, 64)), new Set([at]))
    }
  })
})
