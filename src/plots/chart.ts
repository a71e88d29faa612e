import { themes, type Theme } from './themes.js'

/** A Vega-Lite 5 specification: plain JSON that carries its own rows. Extend it by spreading: `{ ...chart, title: 'β = 0' }`. */
export interface Chart {
  $schema: string
  [property: string]: unknown
}

/** What every chart takes. */
export interface ChartOptions {
  /** Above the chart; papers put it in the caption instead. */
  title?: string
  /** `screen` (default), or `paper`: one column, 3.3 in wide. */
  theme?: Theme
}

/** Any source of row objects: an array, an arquero table, the rows of a run. */
export type Rows = Iterable<object>

/** A training run as plots see it: what optimizers return, what a run directory reopens as, or an object of that form. */
export interface PlotRun {
  name: string
  seed?: number
  rows: Rows
}

/** JupyterLab 4 bundles Vega-Lite 5.6.1, so charts keep to its features. */
export const vegaLiteSchema = 'https://vega.github.io/schema/vega-lite/v5.json'

/** Wraps the body of a specification with schema, title and theme. */
export function chart(body: Record<string, unknown>, { title, theme = 'screen' }: ChartOptions): Chart {
  return { $schema: vegaLiteSchema, ...(title === undefined ? {} : { title }), ...body, config: themes[theme] }
}

/** The same chart in another theme. */
export function themed(chart: Chart, theme: Theme): Chart {
  return { ...chart, config: themes[theme] }
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
