import assert from 'node:assert/strict'
import { rewardContributions, type Chart } from '../../src/plots/index.js'

const layers = (chart: Chart) => (chart.layer as { data: { values: unknown[] } }[]).map(layer => layer.data.values)
const bars = (chart: Chart) => layers(chart)[0]!

describe('plots/rewardContributions', () => {
  const logged = {
    name: 'srpo',
    rows: [{ step: 1, 'contributions/a': 2, 'contributions/b': 1, 'contributions/c': -0.5 }],
  }

  it('stacks what was logged, negative parts below zero', () => {
    assert.deepEqual(bars(rewardContributions(logged)), [
      { component: 'a', from: 0.5, to: 1.5, value: 2, y0: 0, y1: 2 },
      { component: 'b', from: 0.5, to: 1.5, value: 1, y0: 2, y1: 3 },
      { component: 'c', from: 0.5, to: 1.5, value: -0.5, y0: 0, y1: -0.5 },
    ])
  })

  it('weighs the means of components, over the seeds', () => {
    const run = (mean: number) => ({ name: 'grpo', rows: [{ step: 0, 'rewards/a/mean': mean }] })
    const values = bars(rewardContributions([run(1), run(3)], { weights: { a: 0.5 } }))
    assert.deepEqual(values, [{ component: 'a', from: -0.5, to: 0.5, value: 1, y0: 0, y1: 1 }])
  })

  it('averages steps into at most the given number of bars', () => {
    const rows = [1, 2, 3, 4, 5].map(step => ({ step, 'contributions/a': step }))
    const values = bars(rewardContributions({ name: 'srpo', rows }, { bars: 3 })) as { from: number; value: number }[]
    assert.deepEqual(
      values.map(v => [v.from, v.value]),
      [
        [0.5, 1.5],
        [2.5, 3.5],
        [4.5, 5],
      ],
    )
  })

  it('draws their sum', () => {
    assert.deepEqual(layers(rewardContributions(logged))[1], [{ step: 1, sum: 2.5 }])
  })

  it('leaves no gaps between rows that are logged now and then', () => {
    const rows = Array.from({ length: 80 }, (_, i) => ({ step: 10 * i, 'contributions/a': 1 }))
    const values = bars(rewardContributions({ name: 'srpo', rows })) as { from: number; to: number }[]
    assert.equal(values.length, 40) // of 60 bars at most: two rows each
    assert.ok(values.slice(1).every((bar, i) => bar.from === values[i]!.to))
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
