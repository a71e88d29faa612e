import { vbox } from './box.js'
import { outputArea } from './outputArea.js'
import { scoredGroups, type Scored } from './scoredGroups.js'
import { slider } from './slider.js'
import type { Sample } from '../plots/index.js'
import type { Widget } from './widget.js'

type Weights = Readonly<Record<string, number>>

/** The part of `weighted(…)` that the panel turns. */
export interface Weighted {
  readonly names: readonly string[]
  readonly weights: Weights
  readonly last: Scored | undefined
  setWeights(changes: Record<string, number>): void
  onChange(listener: (weights: Weights) => void): () => void
  onScore(listener: () => void): () => void
}

export interface WeightsPanelOptions {
  /** The end of every slider; by default 1, or the largest weight if that is more. */
  readonly max?: number
  /** What the ranking measures scores in: `group` ranks as SRPO does by default; by default as they are. */
  readonly normalization?: 'none' | 'group'
  /** Draws the group scored last under the weights of the moment; by default ranked, a bar a completion. */
  readonly chart?: (group: readonly Sample[], weights: Weights) => unknown
}

/** A slider for the weight of each reward, above a chart of the completions of one prompt that were scored last. Moving one ranks
 * them anew at once, without the device; a run that uses the rewards takes the weights from its next step on. */
export function weightsPanel(
  rewards: Weighted,
  {
    max = Math.max(1, ...Object.values(rewards.weights)),
    normalization = 'none',
    chart = (group, weights) => ranking(group, weights, normalization),
  }: WeightsPanelOptions = {},
): Widget {
  const step = stepOf(Object.values(rewards.weights))
  const labelWidth = `${Math.max(...rewards.names.map(name => name.length))}ch`
  const sliders = rewards.names.map(name => {
    const control = slider({ label: name, min: 0, max, step, value: rewards.weights[name]!, labelWidth })
    control.onChange(value => rewards.setWeights({ [name]: value }))
    return control
  })
  const area = outputArea()
  const redraw = () => {
    const group = rewards.last && groupOf(rewards.last, rewards.names)
    if (group) void area.show(chart(group, rewards.weights))
  }
  rewards.onScore(redraw)
  rewards.onChange(weights => {
    rewards.names.forEach((name, i) => (sliders[i]!.value = weights[name]!))
    redraw()
  })
  redraw()
  return vbox(...sliders, area)
}

/** A hundredth, or finer where a weight has more digits: a slider shows multiples of its step only, and sends back what it shows. */
function stepOf(weights: readonly number[]): number {
  const digits = weights.map(weight => /\.(\d+)/.exec(weight.toFixed(6).replace(/0+$/, ''))?.[1]!.length ?? 0)
  return 10 ** -Math.max(2, ...digits)
}

/** The last prompt whose completions differ in a component, else the last. */
function groupOf(scored: Scored, names: readonly string[]): Sample[] | undefined {
  const groups = scoredGroups(scored, names)
  const differ = (group: Sample[]) =>
    names.some(name => new Set(group.map(({ components }) => components![name])).size > 1)
  return groups.findLast(differ) ?? groups.at(-1)
}

async function ranking(group: readonly Sample[], weights: Weights, normalization: 'none' | 'group'): Promise<unknown> {
  const { groupRanking } = await import('../plots/index.js')
  return groupRanking(group, weights, { title: titleOf(group[0]!.prompt), normalization })
}

/** A prompt in one line; of a long one the end, where the question stands. */
function titleOf(prompt: string): string {
  const words = prompt.trim().replace(/\s+/g, ' ')
  return words.length > LETTERS ? `…${words.slice(-LETTERS)}` : words
}

const LETTERS = 110
