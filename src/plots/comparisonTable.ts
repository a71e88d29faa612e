import { from, type ColumnTable } from 'arquero'
import { groupBy, keysOf, numberAt, textAt, type Rows } from './chart.js'
import { meanInterval } from './meanInterval.js'

export interface ComparisonTableOptions {
  /** Column that names the method; by default `name`. */
  by?: string
  /** Columns to compare; by default every other column with numbers, but `seed`. */
  metrics?: readonly string[]
  /** Coverage of the intervals, in (0, 1); by default 0.95. */
  ci?: number
}

/** One row a method: the number of runs (`n`) and, a metric, its mean and Student t interval over the runs in the columns `metric`,
 * `metric_low` and `metric_high` (`exportTable` writes the three as one cell). Methods keep the order in which they first occur.
 * @param rows one row a run, as a table of final evaluations, in any units; null, NaN and missing cells are passed over
 * @returns null for an interval of fewer than two runs, and for a mean of none
 * @throws if there are no rows, a metric occurs in none, or one does not name its method */
export function comparisonTable(
  rows: Rows,
  { by = 'name', metrics, ci = 0.95 }: ComparisonTableOptions = {},
): ColumnTable {
  const all = [...rows]
  if (all.length === 0) throw new Error('comparisonTable: got no rows, needed one a run.')
  const columns = metrics ?? numericColumns(all).filter(column => column !== by && column !== 'seed')
  for (const metric of columns)
    if (!all.some(row => numberAt(row, metric) !== null))
      throw new Error(
        `comparisonTable: no row has a number under "${metric}"; found ${keysOf(all)}. Name one of those.`,
      )
  const methods = groupBy(all, row => textAt(row, by, 'comparisonTable'))
  return from([...methods].map(([name, runs]) => ({ [by]: name, n: runs.length, ...cells(runs, columns, ci) })))
}

function numericColumns(rows: readonly object[]): string[] {
  const columns = new Set(rows.flatMap(row => Object.keys(row)))
  return [...columns].filter(column => rows.some(row => numberAt(row, column) !== null))
}

function cells(runs: readonly object[], metrics: readonly string[], ci: number): Record<string, number | null> {
  const row: Record<string, number | null> = {}
  for (const metric of metrics) {
    const values = runs.map(run => numberAt(run, metric)).filter(value => value !== null)
    const { mean, low, high } = values.length === 0 ? { mean: null, low: null, high: null } : meanInterval(values, ci)
    Object.assign(row, { [metric]: mean, [`${metric}_low`]: low, [`${metric}_high`]: high })
  }
  return row
}
