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
  it('draws every raw point, and of three seeds the mean with its t interval', () => {
    const seeds = [1, 2, 3].map(seed => run('grpo', seed, [seed, seed + 1]))
    const [raw, band, means] = layers(learningCurves(seeds, { smooth: 1 }))
    assert.deepEqual(
      raw?.map(p => p.value),
      [1, 2, 2, 3, 3, 4],
    )
    assert.deepEqual(
      means?.map(p => p.value),
      [2, 3],
    )
    assert.deepEqual(band, means)
    // half width: t(0.975, 2) · 1 / √3 = 4.30265273 / 1.73205081
    assert.ok(Math.abs((band?.[0]?.high as number) - 4.4841377117) < 1e-6)
  })

  it('draws no band for one or two seeds', () => {
    for (const seeds of [[1], [1, 2]]) {
      const [, band, means] = layers(learningCurves(seeds.map(seed => run('dpo', seed, [1, 2]))))
      assert.deepEqual([band?.length, means?.length], [0, 2])
    }
  })

  it('dashes the mean, without a band, where a seed has ended', () => {
    const seeds = [[1, 2, 3], [1, 2, 3], [1, 2]].map((rewards, seed) => run('grpo', seed, rewards)) // prettier-ignore
    const [, band, dashed, whole] = layers(learningCurves(seeds, { smooth: 1 }))
    const steps = (points?: Record<string, unknown>[]) => points?.map(p => p.step)
    assert.deepEqual([band, dashed, whole].map(steps), [[1, 2], [1, 2, 3], [1, 2]]) // prettier-ignore
  })

  it('marks events, and their text if they are few', async () => {
    const rows = Array.from({ length: 9 }, (_, i) => ({
      step: i,
      reward: i,
      ...(i > 1 ? { event: `weights: ${i}` } : {}),
    }))
    const [rules, , texts] = layers(learningCurves({ name: 'srpo', rows: rows.slice(0, 4) })).slice(3)
    assert.deepEqual(
      [rules, texts],
      [rows.slice(2, 4).map(({ step, event }) => ({ step, event, lines: [event] })), rules],
    )
    const crowded = learningCurves({ name: 'srpo', rows })
    assert.deepEqual(layers(crowded)[5], [])
    assert.match(await renderSvg(crowded), /stroke-dasharray/)
  })

  it('breaks the text of a long event into lines, and loses none of it', () => {
    const event = 'weights: correct 0.7 → 0.2, format 0.3 → 0.8, a component with a very long name 0 → 1'
    const [, , , , texts] = layers(learningCurves({ name: 'srpo', rows: [{ step: 1, reward: 1, event }] }))
    const lines = texts![0]!.lines as string[]
    assert.deepEqual(lines, [
      'weights: correct 0.7 → 0.2,',
      'format 0.3 → 0.8,',
      'a component with a very long',
      'name 0 → 1',
    ])
  })

  it('keeps band and smooth curve within the bounds of the metric', () => {
    const seeds = [0.4, 0.9, 1].map((value, seed) => {
      const rows = [0.2, value, 1, 1, 1].map((value, step) => ({ step, mean_token_accuracy: value, loss: value }))
      return { name: 'sft', seed, rows }
    })
    const extremes = (metric: string, bounds?: [number, number]) => {
      const [, band] = layers(learningCurves(seeds, { metric, ...(bounds && { bounds }) }))
      const all = band!.flatMap(({ low, high, value }) => [low, high, value] as number[])
      return [Math.min(...all), Math.max(...all)] as const
    }
    const [low, high] = extremes('loss')
    assert.ok(low < 0 && high > 1)
    assert.deepEqual(extremes('mean_token_accuracy'), [0, 1])
    assert.deepEqual(extremes('loss', [0.3, 0.8]), [0.3, 0.8])
  })

  it('keeps a long chart small, and its spikes', () => {
    const rewards = Array.from({ length: 10_000 }, (_, i) => (i === 5000 ? 100 : i % 2))
    const [raw, , means] = layers(learningCurves(run('a', 1, rewards)))
    assert.ok(raw!.length <= 500 && means!.length <= 501)
    assert.ok(raw!.some(p => p.value === 100) && raw!.some(p => p.value === 0))
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

  it('smooths by a centred window, and at the ends by a line', () => {
    const points = [0, 3, 6, 0].map((value, step) => ({ step, value }))
    assert.deepEqual(
      smoothed(points, 3).map(p => p.value),
      [0, 3, 3, 0],
    )
    // of 0, 3, 6, 0 the line has slope 0.3 about 2.25
    smoothed(points, 9).forEach((p, i) => assert.ok(Math.abs(p.value - (2.25 + 0.3 * (i - 1.5))) < 1e-12))
    assert.deepEqual(smoothed(points, 1), points)
    const line = Array.from({ length: 20 }, (_, step) => ({ step, value: 7 - 3 * step }))
    smoothed(line, 5).forEach((p, i) => assert.ok(Math.abs(p.value - line[i]!.value) < 1e-12))
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
