import assert from 'node:assert/strict'
import { rewardContributions, type Chart } from '../../src/plots/index.js'

const bars = (chart: Chart) => (chart.data as { values: unknown[] }).values

describe('plots/rewardContributions', () => {
  const logged = {
    name: 'srpo',
    rows: [{ step: 1, 'contributions/a': 2, 'contributions/b': 1, 'contributions/c': -0.5 }],
  }

  it('stacks what was logged, negative parts below zero', () => {
    assert.deepEqual(bars(rewardContributions(logged)), [
      { component: 'a', from: 1, to: 2, value: 2, y0: 0, y1: 2 },
      { component: 'b', from: 1, to: 2, value: 1, y0: 2, y1: 3 },
      { component: 'c', from: 1, to: 2, value: -0.5, y0: 0, y1: -0.5 },
    ])
  })

  it('weighs the means of components, over the seeds', () => {
    const run = (mean: number) => ({ name: 'grpo', rows: [{ step: 0, 'rewards/a/mean': mean }] })
    const values = bars(rewardContributions([run(1), run(3)], { weights: { a: 0.5 } }))
    assert.deepEqual(values, [{ component: 'a', from: 0, to: 1, value: 1, y0: 0, y1: 1 }])
  })

  it('averages steps into at most the given number of bars', () => {
    const rows = [1, 2, 3, 4, 5].map(step => ({ step, 'contributions/a': step }))
    const values = bars(rewardContributions({ name: 'srpo', rows }, { bars: 3 })) as { from: number; value: number }[]
    assert.deepEqual(
      values.map(v => [v.from, v.value]),
      [
        [1, 1.5],
        [3, 3.5],
        [5, 5],
      ],
    )
  })

  it('refuses several methods, and rows without contributions', () => {
    assert.throws(
      () => rewardContributions([logged, { ...logged, name: 'grpo' }]),
      /runs of srpo, grpo, needed one method/,
    )
    assert.throws(
      () => rewardContributions({ name: 'a', rows: [{ step: 1 }] }),
      /no "contributions\/<name>", only step/,
    )
    assert.throws(
      () => rewardContributions(logged, { weights: { a: 1 } }),
      /"rewards\/a\/mean"; found contributions\/a/,
    )
  })
})
