import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { scorePairs } from '../../src/policies/index.js'
import { start } from '../../src/xla/index.js'
import { LettersPolicy } from '../optimizers/lettersPolicy.js'

const ROUNDING = 1e-5

describe('scorePairs', () => {
  it('gives log-probabilities of each row under the policy and its reference, whatever the size of a batch', async () => {
    await start()
    const policy = new LettersPolicy()
    policy.weights = { ...policy.weights, trainable: { table: tf.add(tf.zeros([4, 3, 4]), [0, 1, 0, 0]) } } // "a" one nat likelier
    const rows = [0, 1, 2, 3, 0].map(prompt => ({ prompt, chosen: 'a.', rejected: prompt === 3 ? 'c.' : 'b.' }))
    const stop = Math.exp(-0.5) // beside three letters of weight 1
    const letter = Math.log(1 / (3 + stop)) - 0.5 - Math.log(3 + stop) // a letter, then the full stop
    for (const size of [2, 64]) {
      const { chosen, rejected, refChosen, refRejected } = await scorePairs(policy, rows, { size })
      for (const list of [chosen, rejected, refChosen, refRejected]) assert.equal(list.length, 5)
      rows.forEach((_, i) => {
        const margin = chosen[i]! - refChosen[i]! - (rejected[i]! - refRejected[i]!)
        assert.ok(Math.abs(margin - 1) < ROUNDING, `${margin}`)
        assert.ok(Math.abs(refChosen[i]! - letter) < ROUNDING && Math.abs(refRejected[i]! - letter) < ROUNDING)
      })
    }
    const own = await scorePairs(policy, rows, { reference: policy.weights })
    assert.deepEqual(own.chosen, own.refChosen)
  })
})
