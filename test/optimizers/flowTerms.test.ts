import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { flowKl, flowRatio } from '../../src/optimizers/flowTerms.js'
import { grpoLoss } from '../../src/optimizers/index.js'
import { sdeStep } from '../../src/sampling/index.js'
import { random, start } from '../../src/xla/index.js'

const numbers = async (t: tf.Tensor) => Array.from(await t.data())
const near = (found: readonly number[], wanted: readonly number[], tolerance: number) =>
  found.forEach((x, i) => assert.ok(Math.abs(x - wanted[i]!) <= tolerance, `${i}: ${x}, wanted ${wanted[i]}`))

describe('terms of flows in GRPO', () => {
  const [B, S, D] = [2, 3, 40]
  const normal = (seed: number, shape = [B, S, D]) => random.normal(random.key(seed), shape)
  before(() => start())

  it('flowKl is the divergence of two normal distributions of one deviation', async () => {
    const [mean, reference, std] = [
      normal(1),
      normal(2),
      tf.tensor3d([
        [[0.5], [1], [2]],
        [[0.5], [1], [2]],
      ]),
    ]
    const [ms, rs] = [await numbers(mean), await numbers(reference)]
    const wanted = Array.from({ length: B * S }, (_, i) => {
      const deviation = [0.5, 1, 2][i % S]!
      return (
        ms.slice(i * D, i * D + D).reduce((sum, m, d) => sum + (m - rs[i * D + d]!) ** 2, 0) / D / (2 * deviation ** 2)
      )
    })
    near(await numbers(flowKl(mean, reference, std)), wanted, 1e-5)
    near(await numbers(flowKl(mean, mean, std)), wanted.map(() => 0), 0) // prettier-ignore
  })

  it('flowRatio is ε·Δμ, a mean over dimensions, whatever the deviation; the plain one is shifted by the move', async () => {
    const [x, v, noise] = [normal(3, [B * S, D]), normal(4, [B * S, D]), normal(5, [B * S, D])]
    const at = { x, sigma: 0.7, sigmaNext: 0.5, eta: 0.7 }
    const old = sdeStep({ ...at, v, noise })
    const moved = sdeStep({ ...at, v: tf.add(v, tf.mul(normal(6, [B * S, D]), 0.3)), next: old.next })
    const step = (t: tf.Tensor) => tf.reshape(t, [B, S, -1])
    const std = tf.fill([B, S, 1], (await numbers(old.std))[0]!)
    const found = flowRatio({
      logProbs: tf.reshape(moved.logProb, [B, S]),
      oldLogProbs: tf.reshape(old.logProb, [B, S]),
      mean: step(moved.mean),
      oldMean: step(old.mean),
      std,
    })
    const [es, after, before] = [await numbers(noise), await numbers(moved.mean), await numbers(old.mean)]
    const wanted = Array.from({ length: B * S }, (_, i) => {
      const dims = Array.from({ length: D }, (_, d) => i * D + d)
      return dims.reduce((sum, j) => sum + es[j]! * (after[j]! - before[j]!), 0) / D
    })
    near(await numbers(found), wanted, 1e-5)
  })

  it('take the places of ratio and k3 in the loss', async () => {
    const [logProbs, mask, advantages] = [tf.zeros([1, 2]), tf.ones([1, 2]), tf.tensor1d([2])]
    const batch = { logProbs, oldLogProbs: logProbs, mask, advantages }
    const { loss, metrics } = grpoLoss(
      { ...batch, logRatio: [[0.05, -0.1]], kl: [[0.2, 0.4]] },
      { beta: 0.5, epsilon: 0.2 },
    )
    near(await numbers(metrics['kl']!), [0.3], 1e-6)
    near(await numbers(loss), [-Math.exp(0.05) - Math.exp(-0.1) + 0.15], 1e-6)
  })
})
