import {
  chart,
  extent,
  keysOf,
  numberAt,
  quantityAxis,
  textAt,
  type Chart,
  type ChartOptions,
  type Rows,
} from './chart.js'
import { textWidth } from './fonts.js'

export interface WeightSweepOptions extends ChartOptions {
  /** Columns of the two aims; more is better in both. */
  x: string
  y: string
  /** Column with the text beside points of the front, as the weights; by default `name`. */
  label?: string
}

interface Point {
  x: number
  y: number
  label: string
}

/** A sweep over reward weights: two aims against each other, a point a setting. Points that no other beats in both aims are filled
 * and, as far as there is room, labelled, and a step line, the Pareto front, bounds what was reached.
 * @param rows one row a setting, as means over its seeds
 * @throws if there are no rows, or one lacks an aim or the label */
export function weightSweep(rows: Rows, { x, y, label = 'name', ...options }: WeightSweepOptions): Chart {
  const points = [...rows].map((row): Point => {
    const at = { x: numberAt(row, x), y: numberAt(row, y) }
    if (at.x === null || at.y === null)
      throw new Error(`weightSweep: a row lacks a number under "${at.x === null ? x : y}"; it has ${keysOf([row])}.`)
    return { x: at.x, y: at.y, label: textAt(row, label, 'weightSweep') }
  })
  if (points.length === 0) throw new Error('weightSweep: got no rows, needed one a setting.')
  const front = paretoFront(points, p => [p.x, p.y])
  const onFront = new Set(front)
  const beaten = points.filter(p => !onFront.has(p))
  const room = roomForLabels(front)
  const across = axisWithRoom(points.map(p => p.x), room.width / PLOT.width) // prettier-ignore
  const up = axisWithRoom(points.map(p => p.y), room.height / PLOT.height) // prettier-ignore
  const encoding = {
    x: { field: 'x', type: 'quantitative', title: x, ...across },
    y: { field: 'y', type: 'quantitative', title: y, ...up },
  }
  const inPixels = (p: Point): [right: number, down: number] => [
    share(p.x, across.scale.domain) * PLOT.width,
    -share(p.y, up.scale.domain) * PLOT.height,
  ]
  const faint = Math.max(0.15, Math.min(1, 100 / beaten.length))
  const open = { type: 'point', filled: false, strokeWidth: 1, opacity: faint, color: '#666666', tooltip: true }
  return chart(
    {
      layer: [
        { data: { values: front }, mark: { type: 'line', style: 'reference', interpolate: 'step-before' }, encoding },
        { data: { values: beaten }, mark: open, encoding },
        { data: { values: front }, mark: { type: 'point', color: '#0072B2', tooltip: true }, encoding },
        {
          data: { values: labelled(front, inPixels) },
          // slanted and outside the front, labels meet neither points nor one another
          mark: { type: 'text', align: 'left', baseline: 'middle', angle: 360 - SLANT, dx: GAP, limit: LONGEST },
          encoding: { ...encoding, text: { field: 'label' } },
        },
      ],
    },
    options,
  )
}

/** In pixels of the paper theme, where room is tightest: about the plot, its text, the longest label, and its distance from the point. */
const PLOT = { width: 262, height: 145 }
const TEXT = 7 / 0.75
const LONGEST = 90
const GAP = 7
const SLANT = 40
const [COS, SIN] = [Math.cos((SLANT * Math.PI) / 180), Math.sin((SLANT * Math.PI) / 180)]

/** What the labels take at the right and at the top. */
function roomForLabels(front: readonly Point[]): { width: number; height: number } {
  const longest = Math.max(...front.map(p => Math.min(LONGEST, textWidth(p.label, TEXT, 'Arimo')))) + GAP
  return { width: longest * COS + TEXT / 2, height: longest * SIN + TEXT / 2 }
}

/** Values with a twentieth of the axis before them, and a share of it behind. */
function axisWithRoom(
  values: readonly number[],
  behind: number,
): { scale: { domain: Extent; nice: false }; axis: object } {
  const { scale, axis } = quantityAxis(values)
  const [low, high] = (scale.domain as Extent | undefined) ?? extent(values)
  const whole = (high - low) / (0.95 - behind)
  return { scale: { domain: [low - 0.05 * whole, high + behind * whole], nice: false }, axis }
}

type Extent = [low: number, high: number]

const share = (value: number, [low, high]: Extent): number => (value - low) / (high - low)

/** Points of the front whose labels keep a line's distance, both ends among them. */
function labelled(front: readonly Point[], inPixels: (point: Point) => [right: number, down: number]): Point[] {
  const place = (point: Point) => {
    const [right, down] = inPixels(point)
    return right * SIN + down * COS // across the slant; grows along the front
  }
  const last = front.at(-1)!
  const kept: Point[] = []
  for (const point of front.slice(0, -1))
    if (kept.length === 0 || place(point) - place(kept.at(-1)!) >= LINE) kept.push(point)
  while (kept.length > 1 && place(last) - place(kept.at(-1)!) < LINE) kept.pop()
  return [...kept, last]
}

const LINE = 1.2 * TEXT

/** The items that no other item beats or equals in both aims, by rising first aim; of equal items the first.
 * @param aims two finite numbers an item, any units, more is better */
export function paretoFront<T>(items: readonly T[], aims: (item: T) => readonly [number, number]): T[] {
  const sorted = [...items].sort((a, b) => aims(b)[0] - aims(a)[0] || aims(b)[1] - aims(a)[1])
  let best = -Infinity
  return sorted
    .filter(item => {
      const second = aims(item)[1]
      if (second <= best) return false
      best = second
      return true
    })
    .reverse()
}
