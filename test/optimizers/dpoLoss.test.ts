import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as tf from '@tensorflow/tfjs-core'
import { dpoLoss, valueAndGrad, type DpoLossConfig, type DpoLossType } from '../../src/optimizers/index.js'
import { jit, start } from '../../src/xla/index.js'
import { finiteDifferences } from './finiteDifferences.js'

type Inputs = Record<'chosen' | 'rejected' | 'refChosen' | 'refRejected' | 'chosenLength' | 'rejectedLength', number[]>

const { inputs, cases } = (
  JSON.parse(readFileSync('test/fixtures/optimizers/trl_losses.json', 'utf8')) as {
    dpo: {
      inputs: Inputs
      cases: { config: Partial<DpoLossConfig>; loss: number; gradient: number[]; metrics: Record<string, number> }[]
    }
  }
).dpo

/** float32 sums of a few terms; sppo_hard squares numbers near 10. */
const TOLERANCE = 3e-6

const near = (got: number, expected: number, what: string, tolerance = TOLERANCE) =>
  assert.ok(
    Math.abs(got - expected) <= tolerance * Math.max(1, Math.abs(expected)),
    `${what}: ${got}, expected ${expected}`,
  )

/** The loss as a function of [chosen, rejected]. */
const ofScores = (config: Partial<DpoLossConfig>) => (scores: tf.Tensor) => {
  const [chosen, rejected] = tf.unstack(scores) as [tf.Tensor, tf.Tensor]
  return dpoLoss({ ...inputs, chosen, rejected }, config)
}

const evaluated = (config: Partial<DpoLossConfig>) => {
  const program = jit((x: tf.Tensor) =>
    valueAndGrad(
      ({ x }) => {
        const { loss, metrics } = ofScores(config)(x)
        return { value: loss, aux: metrics }
      },
      { x },
    ),
  )
  const { value, grads, aux } = program(tf.tensor2d([inputs.chosen, inputs.rejected]))
  return { loss: value.dataSync()[0]!, gradient: grads.x.arraySync() as number[][], metrics: aux }
}

describe('dpoLoss', () => {
  before(() => start())

  for (const { config, loss, gradient, metrics } of cases)
    it(`equals TRL's loss, gradient and metrics: ${JSON.stringify(config)}`, () => {
      const ours = evaluated(config)
      near(ours.loss, loss, 'loss')
      gradient.forEach((g, i) => near(ours.gradient.flat()[i]!, g, `gradient ${i}`))
      assert.deepEqual(Object.keys(ours.metrics).sort(), Object.keys(metrics).sort())
      for (const [name, expected] of Object.entries(metrics)) near(ours.metrics[name]!.dataSync()[0]!, expected, name)
    })

  it('has the gradient of finite differences for every loss type', () => {
    const types: DpoLossType[] = [
      'sigmoid',
      'hinge',
      'ipo',
      'robust',
      'exo_pair',
      'nca_pair',
      'bco_pair',
      'sppo_hard',
      'aot',
      'aot_unpaired',
      'apo_zero',
      'apo_down',
      'sigmoid_norm',
      'sft',
    ]
    for (const loss_type of types) {
      const config = { loss_type, beta: 0.3, label_smoothing: 0.1 }
      const { gradient } = evaluated(config)
      const expected = finiteDifferences(x => ofScores(config)(x).loss, [inputs.chosen, inputs.rejected])
      gradient.forEach((row, i) => row.forEach((g, b) => near(g, expected[i]![b]!, `${loss_type} [${i}][${b}]`, 5e-3)))
    }
  })

  it('is log 2 at the reference, and −log σ(βΔ) by hand', () => {
    const at = { chosen: [-1], rejected: [-2], refChosen: [-1], refRejected: [-2] }
    near(dpoLoss(at).loss.dataSync()[0]!, Math.log(2), 'loss')
    const moved = dpoLoss({ ...at, chosen: [1], rejected: [-5] }, { beta: 0.5 }) // Δ = 2 + 3
    near(moved.loss.dataSync()[0]!, Math.log(1 + Math.exp(-2.5)), 'loss')
  })

  it('counts a tie as wrong, and leaves pairs of weight 0 out', () => {
    const pairs = { chosen: [-1, -3], rejected: [-2, -1], refChosen: [-1, -3], refRejected: [-2, -3] }
    const all = dpoLoss(pairs).metrics
    assert.equal(all['rewards/accuracies']!.dataSync()[0], 0)
    const first = dpoLoss({ ...pairs, pairWeight: [1, 0] })
    near(first.loss.dataSync()[0]!, Math.log(2), 'loss')
    near(first.metrics['logps/rejected']!.dataSync()[0]!, -2, 'logps/rejected')
    assert.equal(dpoLoss({ ...pairs, pairWeight: [0, 0] }).loss.dataSync()[0], 0)
  })

  it('says what is missing or out of range', () => {
    const pairs = { chosen: [-1], rejected: [-2], refChosen: [-1], refRejected: [-2] }
    assert.throws(() => dpoLoss(pairs, { loss_type: 'ipo' }), /chosenLength is missing, needed by loss_type ipo/)
    assert.throws(() => dpoLoss(pairs, { loss_type: 'sigmod' as 'sigmoid' }), /Did you mean "sigmoid"/)
    assert.throws(() => dpoLoss(pairs, { label_smoothing: 0.5, loss_type: 'robust' }), /label_smoothing is 0.5/)
    assert.throws(
      () => dpoLoss(pairs, { loss_type: 'apo_zero', f_divergence_type: 'forward_kl' }),
      /loss_type apo_zero is defined for f_divergence_type "reverse_kl" only, found "forward_kl"/,
    )
    assert.throws(() => dpoLoss(pairs, { loss_type: ['sigmoid', 'sft'], loss_weights: [1] }), /1 loss_weights for 2/)
  })
})
