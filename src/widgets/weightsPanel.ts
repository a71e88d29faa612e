import { vbox } from './box.js'
import { outputArea } from './outputArea.js'
import { slider } from './slider.js'
import type { Widget } from './widget.js'

/** The part of `weighted(…)` that the panel turns. */
export interface Weighted {
  readonly names: readonly string[]
  readonly weights: Readonly<Record<string, number>>
  setWeights(changes: Record<string, number>): void
  onChange(listener: (weights: Readonly<Record<string, number>>) => void): () => void
}

/** A slider for the weight of each reward. A run that uses the rewards takes changes from its next step on.
 * @param options.max of every slider; by default 1, or the largest weight if that is more
 * @param options.chart what to show below for the weights of the moment, such as the last group ranked anew */
export function weightsPanel(
  rewards: Weighted,
  {
    max = Math.max(1, ...Object.values(rewards.weights)),
    chart,
  }: { readonly max?: number; readonly chart?: (weights: Readonly<Record<string, number>>) => unknown } = {},
): Widget {
  const labelWidth = `${Math.max(...rewards.names.map(name => name.length))}ch`
  const sliders = rewards.names.map(name => {
    const control = slider({ label: name, min: 0, max, value: rewards.weights[name]!, labelWidth })
    control.onChange(value => rewards.setWeights({ [name]: value }))
    return control
  })
  const area = outputArea()
  const redraw = () => void (chart && area.show(chart(rewards.weights)))
  rewards.onChange(weights => {
    rewards.names.forEach((name, i) => {
      if (sliders[i]!.value !== weights[name]) sliders[i]!.value = weights[name]!
    })
    redraw()
  })
  redraw()
  return vbox(...sliders, ...(chart ? [area] : []))
}
