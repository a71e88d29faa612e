import { textWidth } from './fonts.js'
import { chart, type Chart, type ChartOptions } from './chart.js'

export interface Confusion {
  /** Class names, in the order of rows and columns. */
  labels: readonly string[]
  /** [classes][classes]; counts[i][j]: items of class i that were taken for class j. */
  counts: readonly (readonly number[])[]
}

/** A confusion matrix as a heat map: true classes down, predicted ones across; each cell is shaded by its share of the true class (the
 * diagonal is the recall) and shows its count, as far as counts fit.
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
  const cell = WIDTH / size
  const fits = (texts: readonly string[]) => texts.every(text => textWidth(text, TEXT, 'Arimo') < cell - 2)
  const legible = fits(counts.flat().map(String))
  const slanted = !fits(labels)
  const x = {
    field: 'predicted',
    type: 'nominal',
    sort: null,
    title: 'predicted',
    axis: { domain: false, ticks: false, labelAngle: slanted ? -40 : 0, labelLimit: 100, labelOverlap: cell < 12 },
  }
  const y = { field: 'actual', type: 'nominal', sort: null, title: 'true', axis: { grid: false, labelLimit: 100 } }
  return chart(
    {
      ...(slanted || size > 6
        ? { height: (slanted ? 160 : 100) + 1.6 * TEXT * (legible ? size : Math.min(size, 8)) }
        : {}),
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
              legend: {
                title: 'share of the true class',
                titleOrient: 'left',
                format: '%',
                values: [0, 1],
                gradientLength: 60,
              },
            },
          },
        },
        {
          data: { values: legible ? values : [] },
          mark: 'text',
          encoding: {
            text: { field: 'count' },
            color: { condition: { test: 'datum.share > 0.6', value: 'white' }, value: '#222' },
          },
        },
      ],
    },
    options,
  )
}

/** In pixels of the paper theme, where room is tightest: about the plot, and its text. */
const WIDTH = 240
const TEXT = 7 / 0.75
