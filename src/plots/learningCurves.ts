import { chart, numberAt, quantityAxis, stepAxis, type Chart, type ChartOptions, type PlotRun } from './chart.js'
import { bySeries, curveOf, meanCurve, smoothed, sparse, thinned } from './curves.js'
import { seriesColors } from './seriesColors.js'

export interface LearningCurvesOptions extends ChartOptions {
  /** Key of the rows, TRL's name; by default `reward`. */
  metric?: string
  /** Coverage of the band, in (0, 1); by default 0.95. */
  ci?: number
  /** Rows in the centred moving average of each run; 1 for none. By default a 25th of the longest curve's, 5 at least. */
  smooth?: number
  /** The least and the greatest value that the metric can have: band and smooth curves are cut there. By default 0 and 1 for accuracies
   * and fractions, by TRL's names; none for others. */
  bounds?: readonly [low: number, high: number]
  /** Property of the runs that tells the series apart; by default `name`. */
  by?: string
  /** All series of the study, when a figure shows only some: each keeps its colour. */
  series?: readonly string[]
}

/** A metric by training step: a line a method, the mean over its seeds of smoothed curves; a band, the pointwise Student t interval of
 * that mean; the raw curve of each seed behind, faint. The line is dashed where some seeds have no value, as after one has ended, and
 * has no band there. A band takes three seeds: of two, its half width is nine times their distance. Curves of few points show them.
 * A row's `event`, such as a change of weights, is marked by an upright line.
 * @param runs runs with `name` and `rows`; those that share `by` are seeds of one method; rows whose metric is missing, null or not
 * finite are passed over
 * @throws if there are no runs, a run has rows but none with the metric, or one of them has no `step` */
export function learningCurves(
  runs: PlotRun | readonly PlotRun[],
  {
    metric = 'reward',
    ci = 0.95,
    smooth,
    bounds = boundsOf(metric),
    by = 'name',
    series,
    ...options
  }: LearningCurvesOptions = {},
): Chart {
  const groups = bySeries(runs, by, 'learningCurves')
  const curves = [...groups].map(([name, seeds]) => ({
    name,
    seeds: seeds.map(run => curveOf(run, metric, 'learningCurves')).filter(curve => curve.length > 0),
  }))
  const longest = Math.max(...curves.flatMap(({ seeds }) => seeds.map(curve => curve.length)), 0)
  const window = smooth ?? Math.max(5, Math.round(longest / 25))

  const raw = curves.flatMap(({ name, seeds }) =>
    seeds.flatMap((curve, run) => thinned(curve).map(point => ({ series: name, run, ...point }))),
  )
  const means = curves.flatMap(({ name, seeds }) => {
    const smooth = seeds.map(curve => smoothed(curve, window))
    return sparse(meanCurve(smooth, ci)).map(point => ({
      series: name,
      ...point,
      value: within(point.value, bounds),
      low: point.low && within(point.low, bounds),
      high: point.high && within(point.high, bounds),
      all: point.seeds === seeds.length,
    }))
  })
  const band = means.filter(point => point.all && point.seeds > 2)
  const events = [...groups.values()].flat().flatMap(eventsOf)

  const drawn = [...raw.map(p => p.value), ...band.flatMap(p => [p.low!, p.high!])]
  const x = { field: 'step', type: 'quantitative', scale: { nice: false }, ...stepAxis(raw.map(p => p.step)) }
  const y = { field: 'value', type: 'quantitative', title: metric, ...quantityAxis(drawn) }
  const color = { field: 'series', type: 'nominal', scale: seriesColors(groups.keys(), series) }
  const line = { type: 'line', tooltip: true, point: longest <= 12 }
  const faint = Math.max(0.08, 0.3 / Math.sqrt(Math.max(1, curves.flatMap(c => c.seeds).length)))
  return chart(
    {
      layer: [
        {
          data: { values: raw },
          mark: { type: 'line', style: 'raw', opacity: faint },
          encoding: { x, y, color, detail: { field: 'run', type: 'nominal' } },
        },
        {
          data: { values: band },
          mark: { type: 'area', style: 'band' },
          encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color },
        },
        ...(means.every(point => point.all)
          ? []
          : [{ data: { values: means }, mark: { ...line, style: 'partial' }, encoding: { x, y, color } }]),
        {
          data: { values: means.filter(point => point.all) },
          mark: { ...line, style: 'mean' },
          encoding: { x, y, color },
        },
        ...marked(events, x),
      ],
    },
    options,
  )
}

/** Of metrics that are shares by their names: `mean_token_accuracy`, `rewards/accuracies`, `clip_ratio/region_mean`, … */
const boundsOf = (metric: string): readonly [number, number] =>
  /accurac|fraction|\bfrac_|\bclip_ratio|clipped_ratio/.test(metric) ? [0, 1] : [-Infinity, Infinity]

const within = (value: number, [low, high]: readonly [number, number]): number => Math.min(Math.max(value, low), high)

interface Event {
  step: number
  event: string
  /** Of the text. */
  lines: string[]
}

function eventsOf(run: PlotRun): Event[] {
  return [...run.rows].flatMap(row => {
    const step = numberAt(row, 'step')
    return 'event' in row && typeof row.event === 'string' && step !== null
      ? [{ step, event: row.event, lines: linesOf(row.event) }]
      : []
  })
}

/** A line for each part between commas, and more for a long one. */
const linesOf = (event: string): string[] =>
  event.split(/(?<=,) /).flatMap(part => {
    const lines = ['']
    for (const word of part.split(' ')) {
      const line = `${lines.at(-1)!} ${word}`.trimStart()
      if (line.length <= LETTERS || lines.at(-1) === '') lines[lines.length - 1] = line
      else lines.push(word)
    }
    return lines
  })

/** That fit along a figure for paper. */
const LETTERS = 30

/** An upright line an event, with its text along it if there are few. */
function marked(events: readonly Event[], x: object): object[] {
  if (events.length === 0) return []
  const text = {
    data: { values: events.length <= 6 ? events : [] },
    encoding: { x, y: { value: 3 }, text: { field: 'lines' } },
  }
  const along = { type: 'text', angle: 90, align: 'left', baseline: 'top', dy: 2 }
  return [
    { data: { values: events }, mark: { type: 'rule', style: 'reference', tooltip: true }, encoding: { x } },
    { ...text, mark: { ...along, stroke: 'white', strokeWidth: 3, strokeJoin: 'round' } }, // keeps curves off the text
    { ...text, mark: along },
  ]
}
