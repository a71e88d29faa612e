import { themeConfig, type Theme } from './themes.js'

/** A Vega-Lite 5 specification: plain JSON that carries its own rows. Extend it by spreading: `{ ...chart, title: 'β = 0' }`. */
export interface Chart {
  $schema: string
  [property: string]: unknown
}

/** What every chart takes. */
export interface ChartOptions {
  /** Above the chart; papers put it in the caption instead. */
  title?: string
  /** `screen` (default), or `paper`: one column, 3.25 in wide. */
  theme?: Theme
}

/** Any source of row objects: an array, an arquero table, the rows of a run. */
export type Rows = Iterable<object>

/** A training run as plots see it: what optimizers return, what a run directory reopens as, or an object of that form. */
export interface PlotRun {
  name: string
  seed?: number
  /** A row a step: the number `step`, metrics in whatever unit they were logged. */
  rows: Rows
}

/** JupyterLab 4 bundles Vega-Lite 5.6.1, so charts keep to its features. */
export const vegaLiteSchema = 'https://vega.github.io/schema/vega-lite/v5.json'

/** Wraps the body of a specification with schema, title and theme. */
export function chart(body: Record<string, unknown>, { title, theme = 'screen' }: ChartOptions): Chart {
  return themed({ $schema: vegaLiteSchema, ...(title === undefined ? {} : { title }), ...body }, theme)
}

/** The same chart in another theme: fonts, widths of lines, size, and lines of the legend.
 * @param chart of this module; what was added by spreading stays */
export function themed(chart: Chart, theme: Theme): Chart {
  return { ...chart, config: themeConfig(theme, legendNames(chart as Layer)) }
}

interface Layer {
  layer?: readonly Layer[]
  encoding?: { color?: { scale?: { domain?: unknown }; legend?: unknown } }
}

/** The names that a chart's legend shows. */
function legendNames(chart: Layer): string[] {
  for (const { encoding } of [chart, ...(chart.layer ?? [])]) {
    const domain = encoding?.color?.legend === null ? undefined : encoding?.color?.scale?.domain
    if (Array.isArray(domain)) return domain.filter(name => typeof name === 'string')
  }
  return []
}

/** Scale and axis of a quantity, so that its labels are true and short: equal values stand in the middle of a range of their own
 * (Vega rounds the label of an empty range to a whole number), very small and very large ones get powers of ten.
 * @param values all that are drawn along the axis, any unit */
export function quantityAxis(values: Iterable<number>): {
  scale: Record<string, unknown>
  axis: Record<string, unknown>
} {
  const [low, high] = extent(values)
  if (low > high) return { scale: { zero: false }, axis: {} }
  const largest = Math.max(Math.abs(low), Math.abs(high))
  const reach = largest === 0 ? 1 : 0.1 * largest
  return {
    scale: high - low > 1e-9 * largest ? { zero: false } : { domain: [low - reach, high + reach] },
    axis: isPlain(largest) ? {} : { labelExpr: "datum.value === 0 ? '0' : format(datum.value, '~e')" },
  }
}

const isPlain = (largest: number): boolean => largest === 0 || (largest >= 1e-3 && largest < 1e6)

/** The axis of training steps, labelled at whole ones only. */
export function stepAxis(steps: Iterable<number>): { title: string; axis: Record<string, unknown> } {
  const [first, last] = extent(steps)
  const few = last - first <= 4 // where Vega would take halves
  const values = few
    ? Array.from({ length: Math.floor(last) - Math.ceil(first) + 1 }, (_, i) => Math.ceil(first) + i)
    : []
  return { title: 'step', axis: few ? { values, format: 'd' } : {} }
}

/** Least and greatest; Infinity and −Infinity of nothing. */
export function extent(values: Iterable<number>): [low: number, high: number] {
  let [low, high] = [Infinity, -Infinity]
  for (const value of values) {
    if (value < low) low = value
    if (value > high) high = value
  }
  return [low, high]
}

/** The number under a row's key; null where it is missing, null or not finite. */
export function numberAt(row: object, key: string): number | null {
  const value = (row as Record<string, unknown>)[key]
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}

/** The text or number under a row's key, as text.
 * @throws if the row has neither */
export function textAt(row: object, key: string, where: string): string {
  const value = (row as Record<string, unknown>)[key]
  if (typeof value !== 'string' && typeof value !== 'number')
    throw new Error(
      `${where}: a row has no text or number "${key}", only ${keysOf([row])}. Name the column that tells the series apart.`,
    )
  return String(value)
}

/** The keys that occur in rows, for error messages. */
export function keysOf(rows: Rows): string {
  const keys = new Set<string>()
  for (const row of rows) for (const key of Object.keys(row)) keys.add(key)
  return keys.size === 0 ? '(nothing)' : [...keys].sort().join(', ')
}

/** Rows grouped by the value of a function, in order of first appearance. */
export function groupBy<T, K>(items: Iterable<T>, key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const group = groups.get(key(item))
    if (group) group.push(item)
    else groups.set(key(item), [item])
  }
  return groups
}
