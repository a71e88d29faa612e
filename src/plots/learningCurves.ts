import { chart, type Chart, type ChartOptions, type PlotRun } from './chart.js'
import { bySeries, curveOf, meanCurve, smoothed } from './curves.js'
import { seriesColors } from './seriesColors.js'

export interface LearningCurvesOptions extends ChartOptions {
  /** Key of the rows, TRL's name. */
  metric?: string
  /** Coverage of the band. */
  ci?: number
  /** Rows in the centred moving average of each run; 1 for none. */
  smooth?: number
  /** Property of the runs that tells the series apart. */
  by?: string
  /** All series of the study, when a figure shows only some: each keeps its colour. */
  series?: readonly string[]
}

/** A metric by training step: a line a method, the mean over its seeds of smoothed curves; a band, the pointwise Student t interval of
 * that mean (two seeds or more); the raw curve of each seed behind, faint.
 * @param runs runs with `name` and `rows`; those that share `by` are seeds of one method
 * @throws if a run has no row with the metric */
export function learningCurves(
  runs: PlotRun | readonly PlotRun[],
  { metric = 'reward', ci = 0.95, smooth = 5, by = 'name', series, ...options }: LearningCurvesOptions = {},
): Chart {
  const groups = bySeries(runs, by, 'learningCurves')
  const raw: object[] = []
  const means: object[] = []
  for (const [name, seeds] of groups) {
    const curves = seeds.map(run => curveOf(run, metric, 'learningCurves'))
    curves.forEach((points, run) => raw.push(...points.map(p => ({ series: name, run, ...p }))))
    means.push(
      ...meanCurve(
        curves.map(points => smoothed(points, smooth)),
        ci,
      ).map(p => ({ series: name, ...p })),
    )
  }
  const x = { field: 'step', type: 'quantitative', title: 'step', scale: { nice: false } }
  const y = { field: 'value', type: 'quantitative', title: metric, scale: { zero: false } }
  const color = { field: 'series', type: 'nominal', scale: seriesColors(groups.keys(), series) }
  return chart(
    {
      layer: [
        {
          data: { values: raw },
          mark: { type: 'line', style: 'raw' },
          encoding: { x, y, color, detail: { field: 'run', type: 'nominal' } },
        },
        {
          data: { values: means },
          transform: [{ filter: 'datum.low !== null' }],
          mark: { type: 'area', style: 'band' },
          encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color },
        },
        {
          data: { values: means },
          mark: { type: 'line', style: 'mean', tooltip: true },
          encoding: { x, y, color },
        },
      ],
    },
    options,
  )
}
