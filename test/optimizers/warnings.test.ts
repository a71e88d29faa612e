import assert from 'node:assert/strict'
import type { Row } from '../../src/optimizers/index.js'
import { warnings } from '../../src/optimizers/warnings.js'

const rows = (count: number, metric: string, value: (step: number) => number | null): Row[] =>
  Array.from({ length: count }, (_, i) => ({ step: i + 1, [metric]: value(i + 1) }))

describe('warnings', () => {
  const cases: [what: string, rows: Row[], expected: RegExp][] = [
    ['flat rewards', rows(5, 'frac_reward_zero_std', () => 0.9), /^Flat rewards: in 90 % of the groups/],
    ['pairs that tie', rows(5, 'pairs_kept', () => 0.1), /^Flat rewards: 90 % of the pairs tie/],
    [
      'collapse of entropy',
      rows(12, 'entropy', step => (step < 7 ? 0.8 : 0.01)),
      /^Collapse: the entropy fell from 0\.80 to 0\.010/,
    ],
    [
      'collapse of length',
      rows(12, 'completions/mean_length', step => (step < 7 ? 40 : 2)),
      /^Collapse: the mean length/,
    ],
    ['KL run-away', rows(5, 'kl', () => 2.5), /^KL run-away: the policy is 2\.5 nats a token away/],
    ['completions cut', rows(5, 'completions/clipped_ratio', () => 1), /^100 % of the completions are cut/],
    [
      'a loss that is no number',
      rows(2, 'loss', step => (step === 2 ? null : 1)),
      /^The loss of step 2 is not a number/,
    ],
    [
      'a gradient that is no number',
      rows(2, 'grad_norm', step => (step === 2 ? null : 1)),
      /^The gradient of step 2 is not a number/,
    ],
    [
      'collapse of the reward',
      rows(20, 'reward', step => (step < 15 ? step / 20 : 0)).map(row => ({ ...row, reward_std: 0.4 })),
      /^Collapse: the reward fell from 0\.50 to 0\.0, /,
    ],
    [
      'chosen outputs that become less likely',
      rows(12, 'logps/chosen', step => (step < 7 ? -40 : -65)),
      /^Chosen outputs become less likely: their log-probability fell from -40 to -65/,
    ],
  ]
  for (const [what, bad, expected] of cases)
    it(`tell of ${what}`, () => {
      assert.match(warnings(bad).map(({ text }) => text).join('\n'), expected) // prettier-ignore
      assert.equal(warnings(bad).length, 1)
      assert.deepEqual(warnings(bad.slice(0, 1)), [], 'not yet')
    })

  it('remember the best reward of a thousand rows, not of the whole run', () => {
    const fell = (steps: number) => rows(steps, 'reward', step => (step <= 100 ? 0.9 : 0)).map(row => ({ ...row, reward_std: 0.1 })) // prettier-ignore
    assert.deepEqual(warnings(fell(1090)).map(({ kind }) => kind), ['reward_collapse']) // prettier-ignore
    assert.deepEqual(warnings(fell(1110)), [])
  })

  it('keep silent about a healthy run', () => {
    const healthy = Array.from({ length: 40 }, (_, i) => ({
      step: i + 1,
      loss: 0.1,
      grad_norm: 2,
      reward: 0.5 + 0.3 * Math.sin(i), // noise of batches
      reward_std: 0.4,
      'logps/chosen': -40 - 8 * Math.sin(i) - i / 4,
      frac_reward_zero_std: 0.3,
      entropy: 0.8 - i / 60,
      kl: i / 200,
      'completions/mean_length': 20 - i / 4,
      'completions/clipped_ratio': 0.02,
    }))
    assert.deepEqual(warnings(healthy), [])
    assert.deepEqual(warnings([]), [])
  })
})
