import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { cpsStep, eulerStep, sdeStep } from '../../src/sampling/index.js'
import { random, start } from '../../src/xla/index.js'

const SHAPE = [3, 4, 5]
const numbers = async (t: tf.Tensor) => Array.from(await t.data())
const near = (found: readonly number[], wanted: readonly number[], tolerance = 1e-5) => {
  assert.equal(found.length, wanted.length)
  found.forEach((x, i) => assert.ok(Math.abs(x - wanted[i]!) <= tolerance, `${i}: ${x}, wanted ${wanted[i]}`))
}

describe('random steps of a flow', () => {
  let x: tf.Tensor, v: tf.Tensor, noise: tf.Tensor
  before(async () => {
    await start()
    ;[x, v, noise] = [1, 2, 3].map(seed => random.normal(random.key(seed), SHAPE)) as [tf.Tensor, tf.Tensor, tf.Tensor]
  })

  // The formulas a number at a time, in double precision.
  const formulas = {
    sde: (x: number, v: number, sigma: number, next: number, eta: number) => {
      const dt = next - sigma
      const s = eta * Math.sqrt(sigma / (1 - (sigma === 1 ? next : sigma)))
      const mean = x * (1 + (s * s * dt) / (2 * sigma)) + v * (1 + (s * s * (1 - sigma)) / (2 * sigma)) * dt
      return { mean, std: s * Math.sqrt(-dt) }
    },
    cps: (x: number, v: number, sigma: number, next: number, eta: number) => {
      const std = next * Math.sin((eta * Math.PI) / 2)
      return { mean: (1 - next) * (x - sigma * v) + Math.sqrt(next * next - std * std) * (x + (1 - sigma) * v), std }
    },
  }
  const steps = { sde: sdeStep, cps: cpsStep }

  for (const type of ['sde', 'cps'] as const)
    for (const [sigma, sigmaNext] of [
      [1, 0.8],
      [0.7, 0.5],
      [0.2, 0.1],
    ] as const)
      // prettier-ignore
      it(`${type} from ${sigma} to ${sigmaNext} has the mean, deviation and log-probability of its formula`, async () => {
        const eta = 0.7
        const { next, mean, std, logProb } = steps[type]({ x, v, sigma, sigmaNext, eta, noise })
        const [xs, vs, es] = [await numbers(x), await numbers(v), await numbers(noise)]
        const each = xs.map((x, i) => formulas[type](x, vs[i]!, sigma, sigmaNext, eta))
        near(await numbers(mean), each.map(({ mean }) => mean))
        near(await numbers(std), [each[0]!.std], 1e-6)
        near(await numbers(next), each.map(({ mean, std }, i) => mean + std * es[i]!))
        const log = ({ std }: { std: number }, e: number) =>
          type === 'cps' ? -((std * e) ** 2) : -(e * e) / 2 - Math.log(std) - Math.log(2 * Math.PI) / 2
        const rows = [0, 1, 2].map(b => es.slice(20 * b, 20 * b + 20).reduce((sum, e, i) => sum + log(each[20 * b + i]!, e), 0) / 20)
        near(await numbers(logProb), rows, 2e-5)
        const again = steps[type]({ x, v, sigma, sigmaNext, eta, next })
        near(await numbers(again.logProb), rows, 2e-5)
      })

  it('takes levels a row', async () => {
    const levels = {
      sigma: tf.tensor1d([1, 0.7, 0.2]),
      sigmaNext: tf.tensor1d([0.8, 0.5, 0.1]),
      eta: tf.fill([3], 0.5),
    }
    const second = (t: tf.Tensor) => tf.slice(t, [1, 0, 0], [1, -1, -1])
    for (const step of [sdeStep, cpsStep]) {
      const all = step({ x, v, ...levels, noise })
      const one = step({ x: second(x), v: second(v), sigma: 0.7, sigmaNext: 0.5, eta: 0.5, noise: second(noise) }) // prettier-ignore
      near(await numbers(second(all.next)), await numbers(one.next))
      near([(await numbers(all.logProb))[1]!], await numbers(one.logProb))
    }
  })

  it('is the step of the ODE without randomness', async () => {
    const at = { x, v, sigma: 0.6, sigmaNext: 0.4 }
    const euler = await numbers(eulerStep(at))
    near(await numbers(sdeStep({ ...at, eta: 0, noise }).next), euler)
    near(await numbers(cpsStep({ ...at, eta: 0, noise }).next), euler)
  })

  // Data are normal around 0, so that the velocity E[noise − data | x] is linear. CPS takes its estimates of data and noise for
  // certain, which they are where the data are one point.
  it('leaves samples as noisy as the level says', async () => {
    const z = (seed: number) => random.normal(random.key(seed), [1, 200_000])
    for (const [step, spread, sigma, sigmaNext] of [
      [sdeStep, 0.5, 0.6, 0.59],
      [cpsStep, 0, 0.6, 0.5],
    ] as const) {
      // prettier-ignore
      const deviation = (sigma: number) => Math.hypot((1 - sigma) * spread, sigma)
      const x = tf.mul(z(5), deviation(sigma))
      const slope = (sigma - (1 - sigma) * spread ** 2) / deviation(sigma) ** 2
      const { next } = step({ x, v: tf.mul(x, slope), sigma, sigmaNext, eta: 0.7, noise: z(6) })
      const found = Math.sqrt((await numbers(tf.mean(tf.square(next))))[0]!)
      assert.ok(Math.abs(found / deviation(sigmaNext) - 1) < 0.006, `${found}, wanted ${deviation(sigmaNext)}`)
    }
  })

  it('needs noise or the next place', () => {
    assert.throws(() => sdeStep({ x, v, sigma: 1, sigmaNext: 0.5, eta: 1 }), /neither noise nor next/)
  })
})
