import {
  chart,
  groupBy,
  keysOf,
  numberAt,
  quantityAxis,
  textAt,
  type Chart,
  type ChartOptions,
  type Rows,
} from './chart.js'
import { seriesColors } from './seriesColors.js'

export interface RewardDistributionOptions extends ChartOptions {
  /** Column of the number whose distribution is shown; by default `reward`. */
  value?: string
  /** Column that tells the series apart; by default `name`. */
  by?: string
  /** Bins, where there are more than a dozen different values; by default 24. */
  bins?: number
  /** All series of the study, when a figure shows only some: each keeps its colour. */
  series?: readonly string[]
}

/** How often each reward occurs, a series a method: bars side by side for up to a dozen different values (rewards that count), step
 * lines over common bins otherwise. Shares, so that series of different size compare.
 * @param samples one row a sample; null rewards are passed over
 * @throws if no row has the value, or one with it has no text to tell its series */
export function rewardDistribution(
  samples: Rows,
  { value = 'reward', by = 'name', bins = 24, series, ...options }: RewardDistributionOptions = {},
): Chart {
  const rows = [...samples]
  const drawn = rows.flatMap(row => {
    const number = numberAt(row, value)
    return number === null ? [] : [{ series: textAt(row, by, 'rewardDistribution'), value: number }]
  })
  if (drawn.length === 0)
    throw new Error(
      `rewardDistribution: no row has a number under "${value}"; found ${keysOf(rows)}. Name one of those.`,
    )
  const levels = [...new Set(drawn.map(d => d.value))].sort((a, b) => a - b)
  const groups = groupBy(drawn, d => d.series)
  const color = { field: 'series', type: 'nominal', scale: seriesColors(groups.keys(), series) }
  const y = { field: 'share', type: 'quantitative', title: 'share of samples', axis: { format: '%' } }
  if (levels.length <= 12) {
    const values = [...groups].flatMap(([name, own]) =>
      levels.map(level => ({
        series: name,
        value: level,
        share: own.filter(d => d.value === level).length / own.length,
      })),
    )
    return chart(
      {
        data: { values },
        mark: { type: 'bar', tooltip: true },
        encoding: {
          x: { field: 'value', type: 'ordinal', title: value, axis: { labelAngle: 0, labelExpr: shortLabel(levels) } },
          xOffset: { field: 'series', type: 'nominal', sort: [...groups.keys()] },
          y,
          color,
        },
      },
      options,
    )
  }
  const low = levels[0]!
  const width = (levels.at(-1)! - low) / bins
  const values = [...groups].flatMap(([name, own]) =>
    outline(
      name,
      own.map(d => d.value),
      { low, width, bins },
    ),
  )
  return chart(
    {
      data: { values },
      mark: { type: 'line', style: 'mean', interpolate: 'step-after' },
      encoding: { x: { field: 'value', type: 'quantitative', title: value, ...quantityAxis(levels) }, y, color },
    },
    options,
  )
}

/** Two decimals are enough to tell levels apart that are not closer, as thirds. */
function shortLabel(levels: readonly number[]): string {
  const gap = levels.slice(1).reduce((least, level, i) => Math.min(least, level - levels[i]!), Infinity)
  return gap >= 0.01 ? "format(datum.value, '.2~f')" : 'datum.label'
}

/** A histogram's outline: a point where each bin starts, from zero to zero. */
function outline(
  series: string,
  values: readonly number[],
  at: { low: number; width: number; bins: number },
): object[] {
  const counts = new Array<number>(at.bins).fill(0)
  for (const value of values) counts[Math.min(at.bins - 1, Math.floor((value - at.low) / at.width))]! += 1
  const points = counts.map((count, i) => ({ series, value: at.low + i * at.width, share: count / values.length }))
  return [{ series, value: at.low, share: 0 }, ...points, { series, value: at.low + at.bins * at.width, share: 0 }]
}
