import assert from 'node:assert/strict'
import { differences, stepTimes, type Rows } from './agreement.js'

const rows = (loss: number, later: number, grad_norm = 0.5): Rows => {
  const method = [
    { step: 1, loss, grad_norm, step_time: 9 },
    { step: 2, loss: later, grad_norm: 7, step_time: 0.2 },
    { step: 3, loss: later, grad_norm: 7, step_time: 0.1 },
  ]
  return { sft: method, dpo: method, grpo: method, srpo: method }
}

describe('agreement of two devices', () => {
  it('holds up to the order of float32 sums, and up to AdamW’s first steps later on', () =>
    assert.deepEqual(differences(rows(1.000005, 2.001), rows(1, 2)), []))

  it('fails on losses, gradients, NaN and missing rows', () => {
    const found = (r: Rows) => differences(r, rows(1, 2)).filter(line => line.startsWith('sft'))
    assert.deepEqual(found(rows(1.001, 2)), ['sft, step 1: loss is 1.001, reference 1'])
    assert.deepEqual(found(rows(1, 2, 0.6)), ['sft, step 1: grad_norm is 0.6, reference 0.5'])
    assert.equal(found(rows(NaN, 2.1)).length, 3)
    assert.equal(found({ ...rows(1, 2), sft: [] }).length, 4)
  })

  it('takes the fastest update after the first', () => assert.equal(stepTimes(rows(1, 2)).grpo, 100))
})
