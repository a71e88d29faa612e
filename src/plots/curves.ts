import { groupBy, keysOf, numberAt, textAt, type PlotRun } from './chart.js'
import { mean, meanInterval } from './meanInterval.js'

/** One point of a run's curve. */
export interface CurvePoint {
  step: number
  value: number
}

/** One point of the curve of several seeds; bounds are null where fewer than two seeds have the step. */
export interface BandPoint {
  step: number
  value: number
  low: number | null
  high: number | null
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

/** Centred moving average; the window shrinks at both ends, so that a curve neither lags nor loses points.
 * @param window rows averaged, odd or rounded up to odd; 1 leaves the curve as it is */
export function smoothed(points: readonly CurvePoint[], window: number): CurvePoint[] {
  const reach = Math.floor(window / 2)
  return points.map(({ step }, i) => {
    const near = points.slice(Math.max(0, i - reach), i + reach + 1)
    return { step, value: mean(near.map(p => p.value)) }
  })
}

/** Mean over seeds at each step, with its Student t interval. */
export function meanCurve(curves: readonly CurvePoint[][], level = 0.95): BandPoint[] {
  return [...groupBy(curves.flat(), p => p.step)]
    .map(([step, points]) => {
      const {
        mean: value,
        low,
        high,
      } = meanInterval(
        points.map(p => p.value),
        level,
      )
      return { step, value, low, high }
    })
    .sort((a, b) => a.step - b.step)
}

/** Runs by series: all seeds of a method together. */
export function bySeries(runs: PlotRun | readonly PlotRun[], by: string, where: string): Map<string, PlotRun[]> {
  const all = Array.isArray(runs) ? (runs as readonly PlotRun[]) : [runs as PlotRun]
  if (all.length === 0) throw new Error(`${where}: got no runs, needed at least one.`)
  return groupBy(all, run => textAt(run, by, where))
}
