import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import * as tf from '@tensorflow/tfjs-core'
import { Fields } from '../../src/io/json.js'
import { flowMatchEulerConfig } from '../../src/models/index.js'
import { eulerStep, flowMatchSigmas } from '../../src/sampling/index.js'
import { astype, start, typeOf } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'

const PARITY = 1e-6 // numbers of about 1, which diffusers computes in float32

interface Reference {
  config: Record<string, unknown>
  start: number[]
  schedules: { steps: number; tokens: number; dynamic: boolean; sigmas: number[]; path: number[][] }[]
}

describe('flow-match Euler scheduler', () => {
  let reference: Reference
  before(async () => {
    await start()
    reference = JSON.parse(await readFile(fixture('flux_scheduler.json'), 'utf8')) as Reference
  })

  const config = (change: object = {}) =>
    flowMatchEulerConfig(new Fields({ ...reference.config, ...change }, 'scheduler_config.json'))
  const near = (found: ArrayLike<number>, wanted: readonly number[], tolerance = PARITY) => {
    assert.equal(found.length, wanted.length)
    wanted.forEach((x, i) => assert.ok(Math.abs(x - found[i]!) < tolerance, `${i}: ${found[i]}, needed ${x}`))
  }

  it("has the noise levels and steps of diffusers', with and without dynamic shift", async () => {
    assert.ok(reference.schedules.length >= 8)
    for (const { steps, tokens, dynamic, sigmas, path } of reference.schedules) {
      const found = flowMatchSigmas(config({ use_dynamic_shifting: dynamic }), steps, tokens)
      near(found, sigmas)
      let x: tf.Tensor = tf.tensor(reference.start)
      for (const [i, wanted] of path.entries()) {
        const [sigma, sigmaNext] = [found[i]!, found[i + 1]!]
        const next = tf.tidy(() => eulerStep({ x, v: tf.add(tf.sin(x), sigma), sigma, sigmaNext }))
        x.dispose()
        x = next
        near(await x.data(), wanted, 5 * PARITY) // the errors of a path add up
      }
      x.dispose()
    }
  })

  it('has levels that were computed by hand: shift 3 of 1/2 is 3/4', () => {
    near(flowMatchSigmas(config({ use_dynamic_shifting: false }), 2, 1), [1, 0.75, 0], 1e-12)
    const shift = Math.exp(0.5) // at base_image_seq_len
    near(flowMatchSigmas(config(), 2, 256), [1, shift / (shift + 1), 0], 1e-12)
  })

  it('takes the levels as tensors, and gives the type of the velocity', async () => {
    const [x, v] = [tf.tensor([1, 2]), tf.tensor([4, 8])]
    const found = eulerStep({ x, v: astype(v, 'bf16'), sigma: tf.tensor([0.5, 1]), sigmaNext: tf.tensor([0.25, 0.5]) })
    assert.equal(typeOf(found), 'bf16')
    near(await found.data(), [0, -2])
    tf.dispose([x, v, found])
  })

  it('refuses what it does not compute', () => {
    assert.throws(() => config({ use_karras_sigmas: true }), /use_karras_sigmas is true, needed false/)
    assert.throws(() => config({ time_shift_type: 'linear' }), /time_shift_type is "linear", needed "exponential"/)
    assert.throws(() => config({ shift_terminal: 0.02 }), /shift_terminal is 0.02, needed null/)
    assert.throws(() => config({ max_image_seq_len: 256 }), /max_image_seq_len is 256, needed more than base_image/)
    assert.throws(() => flowMatchSigmas(config(), 0, 256), /0 steps, needed an integer ≥ 1/)
  })
})
