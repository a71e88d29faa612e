import { chart, type Chart, type ChartOptions } from './chart.js'
import { mean } from './meanInterval.js'
import { dataUrl, type Sample } from './sampleGallery.js'
import { seriesColors } from './seriesColors.js'

type Weights = Readonly<Record<string, number>>

export interface GroupRankingOptions extends ChartOptions {
  /** What a score is measured in, as in SRPO: itself (default), or standard deviations from its group's mean. */
  readonly normalization?: 'none' | 'group'
}

/** Samples with the weighted sum of their components as `reward`, best first; those that tie keep their order. */
export function ranked(samples: readonly Sample[], weights: Weights): (Sample & { reward: number | null })[] {
  const scored = samples.map(sample => {
    const parts = Object.entries(sample.components ?? {}).filter(([, score]) => score !== null)
    const sum = parts.reduce((sum, [name, score]) => sum + (weights[name] ?? 0) * score!, 0)
    return { ...sample, reward: parts.length === 0 ? null : sum }
  })
  return scored.sort((a, b) => (b.reward ?? -Infinity) - (a.reward ?? -Infinity))
}

/** Samples of one group with z = (r − mean)/(std + 1e-4) in place of each score r, std with Bessel's correction: `scalarize` does the same. */
function normalized(samples: readonly Sample[]): Sample[] {
  const scoresOf = (name: string) => samples.flatMap(({ components }) => components?.[name] ?? [])
  const z = (name: string, score: number) => {
    const scores = scoresOf(name)
    const centre = mean(scores)
    const squares = scores.reduce((sum, r) => sum + (r - centre) ** 2, 0)
    return (score - centre) / (Math.sqrt(squares / Math.max(1, scores.length - 1)) + 1e-4)
  }
  return samples.map(({ components = {}, ...sample }) => ({
    ...sample,
    components: Object.fromEntries(
      Object.entries(components).map(([name, score]) => [name, score === null ? null : z(name, score)]),
    ),
  }))
}

/** The completions of one prompt, best first, under the given weights: a bar each, stacked from what every component
 * contributes, wᵢrᵢ or wᵢzᵢ (negative parts below zero), with the sum at its end. Of a sample with images the last stands before its bar.
 * @param samples completions with the scores of their `components` */
export function groupRanking(
  samples: readonly Sample[],
  weights: Weights,
  { normalization = 'none', ...options }: GroupRankingOptions = {},
): Chart {
  const rows = ranked(normalization === 'group' ? normalized(samples) : samples, weights).map((sample, i) => ({
    ...sample,
    place: sample.completion === '' ? `${i + 1}` : `${i + 1} · ${line(sample.completion)}`,
  }))
  const ends: object[] = []
  const bars = rows.flatMap(({ place, reward, components = {} }) => {
    let [above, below] = [0, 0]
    const parts = Object.entries(weights).map(([component, weight]) => {
      const value = weight * (components[component] ?? 0)
      const x0 = value < 0 ? below : above
      if (value < 0) below += value
      else above += value
      return { place, component, value, x0, x1: x0 + value }
    })
    ends.push({ place, x: above, reward: reward === null ? '–' : reward.toFixed(2) })
    return parts
  })
  const pictures = rows.flatMap(({ place, images = [] }) =>
    images.length > 0 ? [{ place, url: dataUrl(images.at(-1)!) }] : [],
  )
  const [height, room] = pictures.length > 0 ? [PICTURE + 4, PICTURE + 4] : [22, 0]
  const axis = { ...left, labelLimit: 300, ...(room > 0 && { labelPadding: room + 2 }) }
  const y = { field: 'place', type: 'nominal', sort: null, title: null, axis }
  return chart(
    {
      width: 400,
      height: height * rows.length,
      layer: [
        {
          data: { values: bars },
          mark: { type: 'bar', tooltip: true },
          encoding: {
            y,
            x: {
              field: 'x0',
              type: 'quantitative',
              title: normalization === 'group' ? 'reward, in standard deviations' : 'reward',
            },
            x2: { field: 'x1' },
            color: { field: 'component', type: 'nominal', scale: seriesColors(Object.keys(weights)) },
          },
        },
        {
          data: { values: ends },
          mark: { type: 'text', align: 'left', dx: 4 },
          encoding: { y, x: { field: 'x', type: 'quantitative' }, text: { field: 'reward' } },
        },
        ...(pictures.length > 0 ? [pictureLayer(pictures, y)] : []),
      ],
    },
    options,
  )
}

/** Side of a picture before a bar, in pixels of the chart. */
const PICTURE = 32

function pictureLayer(pictures: readonly { place: string; url: string }[], y: object): object {
  const encoding = { y, x: { value: -PICTURE / 2 - 3 }, url: { field: 'url', type: 'nominal' } }
  return {
    data: { values: pictures },
    mark: { type: 'image', width: PICTURE, height: PICTURE, smooth: false },
    encoding,
  }
}

/** Labels that begin at one line, left of the bars. */
const left = { ticks: false, domain: false, grid: false }

/** A completion in one line; of a long one the end, where the answer stands. */
function line(text: string): string {
  const words = text.trim().replace(/\s+/g, ' ')
  return words.length > LETTERS ? `…${words.slice(-LETTERS)}` : words
}

const LETTERS = 44
