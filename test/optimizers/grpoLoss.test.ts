import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as tf from '@tensorflow/tfjs-core'
import { grpoLoss, valueAndGrad, type GrpoBatch, type GrpoLossConfig } from '../../src/optimizers/index.js'
import { jit, start } from '../../src/xla/index.js'
import { finiteDifferences } from './finiteDifferences.js'

interface Fixture {
  inputs: Required<Record<'logProbs' | 'oldLogProbs' | 'refLogProbs' | 'mask' | 'entropy', number[][]>> & {
    advantages: number[]
  }
  cases: { config: Partial<GrpoLossConfig>; loss: number; gradient: number[][]; metrics: Record<string, number> }[]
}

const fixture = (JSON.parse(readFileSync('test/fixtures/optimizers/trl_losses.json', 'utf8')) as { grpo: Fixture }).grpo

/** float32 sums of some twenty terms, in another order than torch's. */
const TOLERANCE = 2e-6

const near = (got: number, expected: number, what: string, tolerance = TOLERANCE) =>
  assert.ok(Math.abs(got - expected) <= tolerance * Math.max(1, Math.abs(expected)), `${what}: ${got}, TRL ${expected}`)

const evaluated = ({ logProbs, ...rest }: GrpoBatch, config: Partial<GrpoLossConfig>) => {
  const program = jit((x: tf.Tensor) =>
    valueAndGrad(
      ({ x }) => {
        const { loss, metrics } = grpoLoss({ ...rest, logProbs: x }, config)
        return { value: loss, aux: metrics }
      },
      { x },
    ),
  )
  const { value, grads, aux } = program(tf.tensor(logProbs as number[][]))
  return { loss: value.dataSync()[0]!, gradient: grads.x.arraySync() as number[][], metrics: aux }
}

describe('grpoLoss', () => {
  before(() => start())

  for (const { config, loss, gradient, metrics } of fixture.cases)
    it(`equals TRL's loss, gradient and metrics: ${JSON.stringify(config)}`, () => {
      const ours = evaluated(fixture.inputs, config)
      near(ours.loss, loss, 'loss')
      gradient.forEach((row, b) => row.forEach((g, t) => near(ours.gradient[b]![t]!, g, `gradient [${b}][${t}]`)))
      for (const name of [
        'kl',
        'entropy',
        'clip_ratio/low_mean',
        'clip_ratio/high_mean',
        'clip_ratio/region_mean',
        'cispo_clip_ratio',
        'vespo/phi_seq_mean',
      ])
        if (name in metrics) near(ours.metrics[name]!.dataSync()[0]!, metrics[name]!, name)
    })

  it('is the mean of −A·ρ where nothing is clipped, by hand', () => {
    // ratios e^0.1 and 1; advantages 2 and −1; three tokens count: −(2e^0.1 + 2·1 − 1·1)/3
    const batch = {
      logProbs: [
        [-0.9, -1],
        [-2, -3],
      ],
      oldLogProbs: [
        [-1, -1],
        [-2, -3],
      ],
      mask: [
        [1, 1],
        [1, 0],
      ],
      advantages: [2, -1],
    }
    near(evaluated(batch, { loss_type: 'bnpo' }).loss, -(2 * Math.exp(0.1) + 2 - 1) / 3, 'loss')
  })

  it('has the gradient of finite differences, off policy and with a KL term', () => {
    const { logProbs, ...rest } = fixture.inputs
    for (const loss_type of ['grpo', 'dapo', 'sapo', 'luspo', 'reinforce'] as const) {
      const config = { loss_type, beta: 0.2, epsilon: 0.3 }
      const { gradient } = evaluated({ ...rest, logProbs }, config)
      const expected = finiteDifferences(x => grpoLoss({ ...rest, logProbs: x }, config).loss, logProbs)
      gradient.forEach((row, b) => row.forEach((g, t) => near(g, expected[b]![t]!, `${loss_type} [${b}][${t}]`, 2e-3)))
    }
  })

  it('estimates KL as x, x²/2 or e⁻ˣ + x − 1 of x = logp − ref, by hand and by finite differences', () => {
    const x = 0.3
    const at = { logProbs: [[-1]], refLogProbs: [[-1 - x]], mask: [[1]], advantages: [0] }
    const { logProbs, ...rest } = fixture.inputs
    for (const [kl_estimator, expected] of [
      ['k1', x],
      ['k2', x ** 2 / 2],
      ['k3', Math.exp(-x) + x - 1],
    ] as const) {
      // prettier-ignore
      near(evaluated(at, { kl_estimator, beta: 1 }).loss, expected, kl_estimator)
      const config = { kl_estimator, beta: 0.5, loss_type: 'bnpo' } as const
      const { gradient } = evaluated({ ...rest, logProbs }, config)
      const numeric = finiteDifferences(y => grpoLoss({ ...rest, logProbs: y }, config).loss, logProbs)
      gradient.forEach((row, b) =>
        row.forEach((g, t) => near(g, numeric[b]![t]!, `${kl_estimator} [${b}][${t}]`, 2e-3)),
      )
    }
  })

  it('on policy is the policy gradient: without old log-probabilities the gradient is −A/tokens', () => {
    const { gradient } = evaluated({ logProbs: [[-1, -2]], mask: [[1, 1]], advantages: [3] }, {})
    assert.deepEqual(gradient, [[-1.5, -1.5]])
  })

  it('reinforce sums −A·logp over tokens and averages over rows', () => {
    const batch = {
      logProbs: [
        [-1, -2],
        [-3, -4],
      ],
      mask: [
        [1, 1],
        [1, 0],
      ],
      advantages: [1, -2],
    }
    near(evaluated(batch, { loss_type: 'reinforce' }).loss, (1 + 2 - 2 * 3) / 2, 'loss')
  })

  it('says what is missing or unknown', () => {
    const batch = { logProbs: [[-1]], mask: [[1]], advantages: [1] }
    assert.throws(() => grpoLoss(batch, { beta: 0.1 }), /grpoLoss: refLogProbs is missing, needed by beta/)
    assert.throws(() => grpoLoss(batch, { loss_type: 'dpao' as 'dapo' }), /loss_type is "dpao".*Did you mean "dapo"/)
  })
})
