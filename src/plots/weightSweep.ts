import { chart, keysOf, numberAt, textAt, type Chart, type ChartOptions, type Rows } from './chart.js'

export interface WeightSweepOptions extends ChartOptions {
  /** Columns of the two aims; more is better in both. */
  x: string
  y: string
  /** Column with the text beside points of the front, as the weights. */
  label?: string
}

/** A sweep over reward weights: two aims against each other, a point a setting. Points that no other beats in both aims are filled
 * and labelled, and a step line, the Pareto front, bounds what was reached.
 * @param rows one row a setting, as means over its seeds
 * @throws if a row lacks one of the aims */
export function weightSweep(rows: Rows, { x, y, label = 'name', ...options }: WeightSweepOptions): Chart {
  const points = [...rows].map(row => {
    const at = { x: numberAt(row, x), y: numberAt(row, y) }
    if (at.x === null || at.y === null)
      throw new Error(`weightSweep: a row lacks a number under "${at.x === null ? x : y}"; it has ${keysOf([row])}.`)
    return { x: at.x, y: at.y, label: textAt(row, label, 'weightSweep') }
  })
  if (points.length === 0) throw new Error('weightSweep: got no rows, needed one a setting.')
  const front = paretoFront(points, p => [p.x, p.y])
  const beaten = points.filter(p => !front.includes(p))
  const encoding = {
    x: { field: 'x', type: 'quantitative', title: x, scale: { zero: false, padding: 30 } },
    y: { field: 'y', type: 'quantitative', title: y, scale: { zero: false, padding: 30 } },
  }
  return chart(
    {
      layer: [
        { data: { values: front }, mark: { type: 'line', style: 'reference', interpolate: 'step-before' }, encoding },
        { data: { values: beaten }, mark: { type: 'point', filled: false, color: '#777777', tooltip: true }, encoding },
        { data: { values: front }, mark: { type: 'point', color: '#0072B2', tooltip: true }, encoding },
        {
          data: { values: front },
          // slanted and outside the front, labels meet neither points nor one another
          mark: { type: 'text', align: 'left', baseline: 'middle', angle: 320, dx: 7 },
          encoding: { ...encoding, text: { field: 'label' } },
        },
      ],
    },
    options,
  )
}

/** The items that no other item beats or equals in both aims, by rising first aim; of equal items the first.
 * @param aims two numbers an item, more is better */
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
