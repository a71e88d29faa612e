import { groupBy, keysOf, numberAt, textAt, type PlotRun } from './chart.js'
import { meanInterval } from './meanInterval.js'

/** One point of a run's curve, in the metric's unit. */
export interface CurvePoint {
  step: number
  value: number
}

/** One point of the mean curve of several seeds. */
export interface MeanPoint extends CurvePoint {
  /** Bounds of the interval of the mean; null where fewer than two seeds have the step. */
  low: number | null
  high: number | null
  /** Seeds that have the step. */
  seeds: number
}

/** A metric of one run by step; rows without it (say, between evaluations) are passed over, and a run that has not begun has no points.
 * @throws if there are rows but none has the metric, or one has no step */
export function curveOf(run: PlotRun, metric: string, where: string): CurvePoint[] {
  const points: CurvePoint[] = []
  const rows = [...run.rows]
  for (const row of rows) {
    const value = numberAt(row, metric)
    if (value === null) continue
    const step = numberAt(row, 'step')
    if (step === null)
      throw new Error(
        `${where}: a row of run "${run.name}" has "${metric}" but no number "step", only ${keysOf([row])}.`,
      )
    points.push({ step, value })
  }
  if (points.length === 0 && rows.length > 0)
    throw new Error(
      `${where}: no row of run "${run.name}" has a number under "${metric}"; found ${keysOf(rows)}. Name one of those.`,
    )
  return points.sort((a, b) => a.step - b.step)
}

/** Centred moving average. Where a window reaches over an end it is cut, and the value is that of its rows' least-squares line: a curve
 * neither lags, nor loses points, nor starts at a height that it only reached later.
 * @param window rows averaged, odd or rounded up to odd; 1 leaves the curve as it is
 * @source Savitzky & Golay 1964, of degree 1 */
export function smoothed(points: readonly CurvePoint[], window: number): CurvePoint[] {
  const reach = Math.floor(window / 2)
  const sums = [0] // of all values before
  for (const { value } of points) sums.push(sums.at(-1)! + value)
  return points.map(({ step }, i) => {
    const from = Math.max(0, i - reach)
    const to = Math.min(points.length, i + reach + 1)
    const offset = i - (from + to - 1) / 2
    const value = (sums[to]! - sums[from]!) / (to - from)
    return { step, value: offset === 0 ? value : value + offset * slope(points.slice(from, to)) }
  })
}

/** Of the least-squares line through evenly spaced points, two at least, in value a point. */
function slope(points: readonly CurvePoint[]): number {
  const middle = (points.length - 1) / 2
  const covariance = points.reduce((sum, { value }, i) => sum + (i - middle) * value, 0)
  return covariance / points.reduce((sum, _, i) => sum + (i - middle) ** 2, 0)
}

/** Mean over seeds at each step, with its Student t interval.
 * @param curves one a seed
 * @param level coverage of the interval, in (0, 1) */
export function meanCurve(curves: readonly CurvePoint[][], level = 0.95): MeanPoint[] {
  return [...groupBy(curves.flat(), p => p.step)]
    .map(([step, points]) => {
      const interval = meanInterval(
        points.map(p => p.value),
        level,
      )
      return { step, value: interval.mean, low: interval.low, high: interval.high, seeds: interval.n }
    })
    .sort((a, b) => a.step - b.step)
}

/** A curve with no more points than a figure has pixels: of each stretch its lowest and its highest, so that no spike is lost. */
export function thinned(points: readonly CurvePoint[]): CurvePoint[] {
  const size = Math.ceil((2 * points.length) / MOST)
  if (size <= 2) return [...points]
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const stretch = points.slice(i * size, (i + 1) * size)
    const lowest = stretch.reduce((a, b) => (b.value < a.value ? b : a))
    const highest = stretch.reduce((a, b) => (b.value > a.value ? b : a))
    return stretch.filter(point => point === lowest || point === highest)
  }).flat()
}

/** A smooth curve with no more points than a figure has pixels: every so many, and the last. */
export function sparse<T>(points: readonly T[]): T[] {
  const size = Math.ceil(points.length / MOST)
  return points.filter((_, i) => i % size === 0 || i === points.length - 1)
}

const MOST = 500

/** Runs by series: all seeds of a method together. */
export function bySeries(runs: PlotRun | readonly PlotRun[], by: string, where: string): Map<string, PlotRun[]> {
  const all = Array.isArray(runs) ? (runs as readonly PlotRun[]) : [runs as PlotRun]
  if (all.length === 0) throw new Error(`${where}: got no runs, needed at least one.`)
  return groupBy(all, run => textAt(run, by, where))
}
