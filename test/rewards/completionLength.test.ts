import assert from 'node:assert/strict'
import { completionLength } from '../../src/rewards/index.js'
import { scoreOf } from './samples.js'

describe('completionLength', () => {
  it('is 1 up to full, falls linearly, and is 0 from none', async () => {
    const reward = completionLength({ full: 10, none: 20 })
    const at = (length: number): Promise<unknown> => scoreOf(reward, 'x'.repeat(length))
    assert.deepEqual(await Promise.all([1, 10, 11, 15, 20, 99].map(at)), [1, 1, 0.9, 0.5, 0, 0])
  })

  it('gives nothing for an empty reply', async () => {
    assert.equal(await scoreOf(completionLength(), ' \n'), 0)
  })

  it('refuses bounds out of order', () => {
    assert.throws(() => completionLength({ full: 20, none: 20 }), /full is 20 and none 20, needed 0 ≤ full < none/)
    assert.throws(() => completionLength({ none: NaN }), /needed 0 ≤ full < none/)
  })
})
