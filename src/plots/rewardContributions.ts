import { chart, groupBy, keysOf, stepAxis, type Chart, type ChartOptions, type PlotRun } from './chart.js'
import { bySeries, curveOf, meanCurve } from './curves.js'
import { mean } from './meanInterval.js'
import { seriesColors } from './seriesColors.js'

export interface RewardContributionsOptions extends ChartOptions {
  /** Weight of each component, for runs that log only the components' means (`rewards/<name>/mean`). Without it, rows must hold what
   * SRPO logs, the contributions themselves (`contributions/<name>`). */
  weights?: Readonly<Record<string, number>>
  /** Most bars drawn, by default 60; longer runs show the mean over several steps a bar. */
  bars?: number
}

interface Contribution {
  component: string
  step: number
  value: number
}

/** What each component adds to the reward, wᵢrᵢ, by training step: stacked bars, negative ones below zero, means over the seeds; a
 * black line is their sum, the reward.
 * @param runs one run, or all seeds of one method
 * @throws if there are no runs, or they are of several methods or lack a component */
export function rewardContributions(
  runs: PlotRun | readonly PlotRun[],
  { weights, bars = 60, ...options }: RewardContributionsOptions = {},
): Chart {
  const where = 'rewardContributions'
  const methods = bySeries(runs, 'name', where)
  if (methods.size > 1)
    throw new Error(
      `${where}: got runs of ${[...methods.keys()].join(', ')}, needed one method. Draw a chart for each.`,
    )
  const seeds = [...methods.values()].flat()
  const columns = weights
    ? Object.entries(weights).map(([component, weight]) => ({ component, weight, key: `rewards/${component}/mean` }))
    : contributionKeys(seeds[0]!).map(key => ({ component: key.slice(prefix.length), weight: 1, key }))
  const contributions = columns.flatMap(({ component, weight, key }) =>
    meanCurve(seeds.map(run => curveOf(run, key, where))).map(p => ({
      component,
      step: p.step,
      value: weight * p.value,
    })),
  )
  const components = columns.map(c => c.component)
  const values = stacked(contributions, components, bars)
  const sums = [...groupBy(values, bar => bar.from)].map(([from, own]) => ({
    step: (from + own[0]!.to) / 2,
    sum: own.reduce((sum, bar) => sum + bar.value, 0),
  }))
  const y = { type: 'quantitative', title: 'contribution to the reward' }
  return chart(
    {
      layer: [
        {
          data: { values },
          mark: { type: 'bar', tooltip: true },
          encoding: {
            x: {
              field: 'from',
              type: 'quantitative',
              scale: { nice: false, zero: false },
              ...stepAxis(values.flatMap(bar => [bar.from, bar.to])),
            },
            x2: { field: 'to' },
            y: { ...y, field: 'y0' },
            y2: { field: 'y1' },
            color: { field: 'component', type: 'nominal', scale: seriesColors(components) },
          },
        },
        {
          data: { values: sums },
          mark: {
            type: 'line',
            style: 'mean',
            color: 'black',
            tooltip: true,
            point: sums.length === 1 && { color: 'black' },
          },
          encoding: { x: { field: 'step', type: 'quantitative' }, y: { ...y, field: 'sum' } },
        },
      ],
    },
    options,
  )
}

const prefix = 'contributions/'

function contributionKeys(run: PlotRun): string[] {
  const keys = new Set([...run.rows].flatMap(row => Object.keys(row).filter(key => key.startsWith(prefix))))
  if (keys.size === 0)
    throw new Error(
      `rewardContributions: rows of run "${run.name}" have no "${prefix}<name>", only ${keysOf(run.rows)}. Pass { weights }.`,
    )
  return [...keys].sort()
}

interface Bar {
  component: string
  from: number
  to: number
  value: number
  y0: number
  y1: number
}

/** Bars [from, to) × [y0, y1] around the steps that they are of, the components of a bar on top of one another in the given order. */
function stacked(contributions: readonly Contribution[], order: readonly string[], bars: number): Bar[] {
  const steps = [...new Set(contributions.map(c => c.step))].sort((a, b) => a - b)
  const gap = steps.slice(1).reduce((least, step, i) => Math.min(least, step - steps[i]!), Infinity)
  const spacing = Number.isFinite(gap) ? gap : 1
  const first = (steps[0] ?? 0) - spacing / 2
  const width = spacing * Math.max(1, Math.ceil(((steps.at(-1) ?? 0) + spacing / 2 - first) / spacing / bars))
  return [...groupBy(contributions, c => Math.floor((c.step - first) / width))].flatMap(([bar, inside]) => {
    let above = 0
    let below = 0
    return order.flatMap(component => {
      const own = inside.filter(c => c.component === component)
      if (own.length === 0) return []
      const value = mean(own.map(c => c.value))
      const y0 = value < 0 ? below : above
      if (value < 0) below += value
      else above += value
      const from = first + bar * width
      return [{ component, from, to: from + width, value, y0, y1: y0 + value }]
    })
  })
}
