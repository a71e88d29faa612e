import { chart, groupBy, quantityAxis, type Chart, type ChartOptions, type PlotRun } from './chart.js'
import { bySeries, curveOf } from './curves.js'
import { mean } from './meanInterval.js'
import { seriesColors } from './seriesColors.js'

export interface ProxyAgainstHeldOutOptions extends ChartOptions {
  /** Row key of the reward that is trained on; by default `reward`. */
  proxy?: string
  /** Row key of the score that is not, logged at some steps. */
  heldOut: string
  /** All series of the study, when a figure shows only some: each keeps its colour. */
  series?: readonly string[]
}

interface PathPoint {
  step: number
  proxy: number
  heldOut: number
}

/** Reward hacking made visible: the path of each method through (trained reward, held-out score), mean over its seeds, an open dot where
 * it ends. A path that goes right without rising earns reward for nothing; one that turns down is over-optimised.
 * At each held-out evaluation the reward is the mean since the evaluation before it.
 * @param runs runs with `name` and `rows`; those of one name are seeds of one method
 * @throws if there are no runs, or a run with rows lacks one of the metrics
 * @source Gao et al., Scaling Laws for Reward Model Overoptimization, arXiv 2210.10760 */
export function proxyAgainstHeldOut(
  runs: PlotRun | readonly PlotRun[],
  { proxy = 'reward', heldOut, series, ...options }: ProxyAgainstHeldOutOptions,
): Chart {
  const groups = bySeries(runs, 'name', 'proxyAgainstHeldOut')
  const seeds: (PathPoint & { series: string; run: number })[] = []
  const means: (PathPoint & { series: string })[] = []
  for (const [name, group] of groups) {
    const paths = group.map(run => pathOf(run, proxy, heldOut))
    paths.forEach((path, run) => seeds.push(...path.map(p => ({ series: name, run, ...p }))))
    means.push(...meanPath(paths).map(p => ({ series: name, ...p })))
  }
  const ends = [...groupBy(means, p => p.series).values()].map(path => path.at(-1)!)
  const drawn = [...seeds, ...means]
  const atPoint = {
    x: {
      field: 'proxy',
      type: 'quantitative',
      title: `${proxy} (trained on)`,
      ...quantityAxis(drawn.map(p => p.proxy)),
    },
    y: {
      field: 'heldOut',
      type: 'quantitative',
      title: `${heldOut} (held out)`,
      ...quantityAxis(drawn.map(p => p.heldOut)),
    },
    color: { field: 'series', type: 'nominal', scale: seriesColors(groups.keys(), series) },
  }
  const encoding = { ...atPoint, order: { field: 'step', type: 'quantitative' } }
  return chart(
    {
      layer: [
        {
          data: { values: seeds },
          mark: { type: 'line', style: 'raw', opacity: 0.3 },
          encoding: { ...encoding, detail: { field: 'run', type: 'nominal' } },
        },
        { data: { values: means }, mark: { type: 'line', style: 'mean' }, encoding },
        { data: { values: means }, mark: { type: 'point', tooltip: true }, encoding: atPoint },
        { data: { values: ends }, mark: { type: 'point', style: 'end' }, encoding: atPoint },
      ],
    },
    options,
  )
}

function pathOf(run: PlotRun, proxy: string, heldOut: string): PathPoint[] {
  const rewards = curveOf(run, proxy, 'proxyAgainstHeldOut')
  let last = -Infinity
  return curveOf(run, heldOut, 'proxyAgainstHeldOut').flatMap(({ step, value }) => {
    const since = rewards.filter(r => r.step > last && r.step <= step)
    last = step
    return since.length === 0 ? [] : [{ step, proxy: mean(since.map(r => r.value)), heldOut: value }]
  })
}

function meanPath(paths: readonly PathPoint[][]): PathPoint[] {
  return [...groupBy(paths.flat(), p => p.step)]
    .map(([step, points]) => ({
      step,
      proxy: mean(points.map(p => p.proxy)),
      heldOut: mean(points.map(p => p.heldOut)),
    }))
    .sort((a, b) => a.step - b.step)
}
