import { chart, numberAt, keysOf, quantityAxis, textAt, type Chart, type ChartOptions, type Rows } from './chart.js'
import { textWidth } from './fonts.js'
import { seriesColors } from './seriesColors.js'

export interface PairedDifferencesOptions extends ChartOptions {
  /** What the rows were compared with, for the axis; by default `base`. */
  reference?: string
  /** What was compared, for the axis; by default `score`. */
  metric?: string
  /** All series of the study, when a figure shows only some: each keeps its colour. */
  series?: readonly string[]
}

/** Differences from a reference on the same items: a dot and its interval a method, beside a line at zero.
 * @param rows `name`, `mean` of the differences, and the interval's `low` and `high` in the metric's unit, as `pairedDifference` of
 * `rewardlab/metrics` gives them; drawn in this order from the top
 * @throws if there are no rows, or one lacks one of them */
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
  const longest = Math.max(...names.map(name => Math.min(140, textWidth(name, TITLE, 'Arimo'))))
  const x = {
    type: 'quantitative',
    title: wrapped(`${metric}: difference from ${reference}`, 300 - longest),
    scale: { padding: 5 },
    axis: quantityAxis(values.flatMap(v => [v.low, v.high])).axis,
  }
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

const TITLE = 8 / 0.75 // in pixels of the paper theme, where room is tightest

/** Text in lines of at most the given width, as far as words allow. */
function wrapped(text: string, width: number): string[] {
  return text.split(' ').reduce<string[]>((lines, word) => {
    const longer = `${lines.at(-1) ?? ''} ${word}`.trim()
    return lines.length > 0 && textWidth(longer, TITLE, 'Arimo') > width
      ? [...lines, word]
      : [...lines.slice(0, -1), longer]
  }, [])
}
