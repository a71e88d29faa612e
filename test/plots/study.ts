import type { PlotRun } from '../../src/plots/index.js'

/** A made-up study for figures: three methods, three seeds, 45 steps, an evaluation every fifth step; the same numbers each time. */
export function study({ seeds = 3, steps = 45 } = {}): PlotRun[] {
  const methods = [
    { name: 'grpo', gain: 0.4, rate: 12 },
    { name: 'dpo', gain: 0.25, rate: 8 },
    { name: 'srpo', gain: 0.38, rate: 16 },
  ]
  return methods.flatMap(({ name, gain, rate }, m) =>
    Array.from({ length: seeds }, (_, s) => {
      const noise = waves(m * 10 + s)
      const rows = Array.from({ length: steps }, (_, step) => {
        const learned = gain * (1 - Math.exp(-step / rate)) + 0.03 * (s - 1)
        const format = 0.6 + 0.9 * learned + 0.05 * noise(step)
        const correct = 1.1 + 1.6 * learned + 0.15 * noise(step + 0.5)
        return {
          step,
          reward: 0.3 * format + 0.7 * correct,
          'rewards/format/mean': format,
          'rewards/correct/mean': correct,
          'rewards/length/mean': 0.5 + 0.3 * noise(step + 0.25),
          ...(step % 5 === 4 ? { eval_accuracy: 0.54 + learned - (name === 'dpo' ? 0.004 * step : 0) } : {}),
        }
      })
      return { name, seed: s + 1, rows }
    }),
  )
}

/** Deterministic noise in about [−1, 1]. */
export function waves(key: number): (x: number) => number {
  return x => Math.sin(12.9898 * x + 78.233 * key) * Math.cos(4.1414 * x * x + key)
}
