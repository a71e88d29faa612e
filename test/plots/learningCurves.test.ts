import assert from 'node:assert/strict'
import { table } from 'arquero'
import { learningCurves, renderSvg, type Chart } from '../../src/plots/index.js'
import { meanCurve, smoothed } from '../../src/plots/curves.js'

const run = (name: string, seed: number, rewards: (number | null)[]) => ({
  name,
  seed,
  rows: rewards.map((reward, i) => ({ step: i + 1, reward })),
})

/** Rows of the layers: raw curves, band, mean curves. */
function layers(chart: Chart): Record<string, unknown>[][] {
  return (chart.layer as { data: { values: Record<string, unknown>[] } }[]).map(layer => layer.data.values)
}

describe('plots/learningCurves', () => {
  it('draws every raw point and the mean over seeds with its t interval', () => {
    const [raw, band, means] = layers(learningCurves([run('grpo', 1, [1, 2]), run('grpo', 2, [3, 4])], { smooth: 1 }))
    assert.deepEqual(
      raw?.map(p => p.value),
      [1, 2, 3, 4],
    )
    assert.deepEqual(
      means?.map(p => p.value),
      [2, 3],
    )
    assert.deepEqual(band, means)
    // half width: t(0.975, 1) · √2 / √2 = 12.7062047
    assert.ok(Math.abs((means?.[0]?.high as number) - 14.7062047) < 1e-6)
  })

  it('draws no band for a single seed', () => {
    const [, , means] = layers(learningCurves(run('dpo', 1, [1, 2]), { smooth: 1 }))
    assert.deepEqual(means, [
      { series: 'dpo', step: 1, value: 1, low: null, high: null },
      { series: 'dpo', step: 2, value: 2, low: null, high: null },
    ])
  })

  it('passes over rows without the metric, and takes arquero tables', () => {
    const [raw] = layers(learningCurves({ name: 'a', rows: table({ step: [1, 2, 3], reward: [1, null, NaN] }) }))
    assert.deepEqual(raw, [{ series: 'a', run: 0, step: 1, value: 1 }])
  })

  it('draws an empty chart of a run that has not begun', async () => {
    const chart = learningCurves([run('grpo', 1, [])])
    assert.deepEqual(layers(chart), [[], [], []])
    assert.match(await renderSvg(chart), /^<svg/)
  })

  it('tells series apart by any property', () => {
    const [, , means] = layers(learningCurves([run('a', 1, [1]), run('a', 2, [2])], { by: 'seed' }))
    assert.deepEqual(
      means?.map(p => p.series),
      ['1', '2'],
    )
  })

  it('refuses an unknown metric, rows without step, no runs', () => {
    assert.throws(
      () => learningCurves(run('a', 1, [1]), { metric: 'rewrad' }),
      /run "a" .*"rewrad"; found reward, step/,
    )
    assert.throws(
      () => learningCurves({ name: 'a', rows: [{ reward: 1 }] }),
      /run "a" has "reward" but no number "step"/,
    )
    assert.throws(() => learningCurves([]), /got no runs/)
  })

  it('smooths by a centred window that shrinks at the ends', () => {
    const points = [0, 3, 6, 0].map((value, step) => ({ step, value }))
    assert.deepEqual(
      smoothed(points, 3).map(p => p.value),
      [1.5, 3, 3, 3],
    )
    assert.deepEqual(smoothed(points, 1), points)
  })

  it('averages seeds step by step, also where their steps differ', () => {
    const curve = (...steps: number[]) => steps.map(step => ({ step, value: step }))
    const mean = meanCurve([curve(1, 3), curve(1, 2)])
    assert.deepEqual(
      mean.map(p => [p.step, p.value, p.low]),
      [
        [1, 1, 1],
        [2, 2, null],
        [3, 3, null],
      ],
    )
  })
})
