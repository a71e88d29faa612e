import { chart, numberAt, keysOf, textAt, type Chart, type ChartOptions, type Rows } from './chart.js'
import { seriesColors } from './seriesColors.js'

export interface PairedDifferencesOptions extends ChartOptions {
  /** What the rows were compared with, for the axis. */
  reference?: string
  /** What was compared, for the axis. */
  metric?: string
  /** All series of the study, when a figure shows only some: each keeps its colour. */
  series?: readonly string[]
}

/** Differences from a reference on the same items: a dot and its interval a method, beside a line at zero.
 * @param rows `name`, `mean` of the differences, and the interval's `low` and `high`
 * @throws if a row lacks one of them */
export function pairedDifferences(
  rows: Rows,
  { reference = 'base', metric = 'score', series, ...options }: PairedDifferencesOptions = {},
): Chart {
  const values = [...rows].map(row => {
    const [mean, low, high] = ['mean', 'low', 'high'].map(key => numberAt(row, key))
    if (mean == null || low == null || high == null)
      throw new Error(`pairedDifferences: a row needs the numbers mean, low and high; it has ${keysOf([row])}.`)
    return { name: textAt(row, 'name', 'pairedDifferences'), mean, low, high }
  })
  if (values.length === 0) throw new Error('pairedDifferences: got no rows, needed one a method.')
  const names = values.map(v => v.name)
  const x = { type: 'quantitative', title: `${metric}: difference from ${reference}` }
  const y = { field: 'name', type: 'nominal', sort: null, title: null, axis: { grid: false } }
  const color = { field: 'name', type: 'nominal', scale: seriesColors(names, series), legend: null }
  return chart(
    {
      height: 40 + 24 * values.length,
      layer: [
        {
          data: { values: [{ zero: 0 }] },
          mark: { type: 'rule', style: 'reference' },
          encoding: { x: { ...x, field: 'zero' } },
        },
        {
          data: { values },
          mark: { type: 'rule', tooltip: true },
          encoding: { x: { ...x, field: 'low' }, x2: { field: 'high' }, y, color },
        },
        {
          data: { values },
          mark: { type: 'point', tooltip: true },
          encoding: { x: { ...x, field: 'mean' }, y, color },
        },
      ],
    },
    options,
  )
}
