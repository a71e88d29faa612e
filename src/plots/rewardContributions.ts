import { chart, groupBy, keysOf, type Chart, type ChartOptions, type PlotRun } from './chart.js'
import { bySeries, curveOf, meanCurve } from './curves.js'
import { mean } from './meanInterval.js'
import { seriesColors } from './seriesColors.js'

export interface RewardContributionsOptions extends ChartOptions {
  /** Weight of each component, for runs that log only the components' means (`rewards/<name>/mean`). Without it, rows must hold what
   * SRPO logs, the contributions themselves (`contributions/<name>`). */
  weights?: Readonly<Record<string, number>>
  /** Most bars drawn; longer runs show the mean over several steps a bar. */
  bars?: number
}

interface Contribution {
  component: string
  step: number
  value: number
}

/** What each component adds to the reward, wᵢrᵢ, by training step: stacked bars, negative ones below zero, means over the seeds.
 * @param runs one run, or all seeds of one method
 * @throws if the runs are of several methods or lack a component */
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
  const values = stacked(
    contributions,
    columns.map(c => c.component),
    bars,
  )
  return chart(
    {
      data: { values },
      mark: { type: 'bar', tooltip: true },
      encoding: {
        x: { field: 'from', type: 'quantitative', title: 'step', scale: { nice: false, zero: false } },
        x2: { field: 'to' },
        y: { field: 'y0', type: 'quantitative', title: 'contribution to the reward' },
        y2: { field: 'y1' },
        color: { field: 'component', type: 'nominal', scale: seriesColors(columns.map(c => c.component)) },
      },
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

/** Bars [from, to) × [y0, y1], the components of a bar on top of one another in the given order. */
function stacked(contributions: readonly Contribution[], order: readonly string[], bars: number): object[] {
  const steps = contributions.map(c => c.step)
  const first = Math.min(...steps)
  const width = Math.max(1, Math.ceil((Math.max(...steps) - first + 1) / bars))
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
