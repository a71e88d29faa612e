import { chart, type Chart, type ChartOptions } from './chart.js'

export interface Confusion {
  /** Class names, in the order of rows and columns. */
  labels: readonly string[]
  /** counts[i][j]: items of class i that were taken for class j. */
  counts: readonly (readonly number[])[]
}

/** A confusion matrix as a heat map: true classes down, predicted ones across; each cell shows its count and is shaded by its share of
 * the true class (the diagonal is the recall).
 * @throws if the counts are not square in the labels */
export function confusionMatrix({ labels, counts }: Confusion, options: ChartOptions = {}): Chart {
  const size = labels.length
  if (size === 0 || counts.length !== size || counts.some(row => row.length !== size))
    throw new Error(
      `confusionMatrix: got ${counts.length} rows of ${[...new Set(counts.map(row => row.length))].join(' or ')} counts for ` +
        `${size} labels, needed a square matrix with a row and a column a label.`,
    )
  const values = counts.flatMap((row, i) => {
    const total = row.reduce((sum, count) => sum + count, 0)
    return row.map((count, j) => ({
      actual: labels[i],
      predicted: labels[j],
      count,
      share: total === 0 ? 0 : count / total,
    }))
  })
  const x = {
    field: 'predicted',
    type: 'nominal',
    sort: null,
    title: 'predicted',
    axis: { labelAngle: 0, domain: false, ticks: false },
  }
  const y = { field: 'actual', type: 'nominal', sort: null, title: 'true', axis: { grid: false } }
  return chart(
    {
      data: { values },
      encoding: { x, y },
      layer: [
        {
          mark: { type: 'rect', tooltip: true },
          encoding: {
            color: {
              field: 'share',
              type: 'quantitative',
              scale: { domain: [0, 1], scheme: 'blues' },
              legend: { title: 'share of the true class', format: '%', tickCount: 3, gradientLength: 120 },
            },
          },
        },
        {
          mark: 'text',
          encoding: {
            text: { field: 'count' },
            color: { condition: { test: 'datum.share > 0.5', value: 'white' }, value: '#222' },
          },
        },
      ],
    },
    options,
  )
}
