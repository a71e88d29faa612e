import {
  confusionMatrix,
  learningCurves,
  pairedDifferences,
  proxyAgainstHeldOut,
  rewardContributions,
  rewardDistribution,
  weightSweep,
  type Chart,
  type PlotRun,
} from '../../src/plots/index.js'
import { waves } from './study.js'

const letters = [...'abcdefghijkl']
const many = letters.map(letter => `ablation-${letter}`)
const long = [
  'GRPO with per-token KL penalty, β = 0.04, G = 16',
  'SRPO, words only, group-normalised, lr 2e-4',
  'Qwen2.5-0.5B-Instruct/dpo-on-policy-beta-0.1',
  'base',
]

/** One run a name, or several seeds of each. */
function runs(names: readonly string[], { steps = 100, seeds = 1, scale = 1, offset = 0 } = {}): PlotRun[] {
  return names.flatMap((name, m) =>
    Array.from({ length: seeds }, (_, s) => {
      const noise = waves(31 * m + s)
      const rows = Array.from({ length: steps }, (_, i) => {
        const learned = (0.2 + 0.06 * m) * (1 - Math.exp((-8 * i) / steps)) + 0.02 * s
        const reward = scale * (learned + 0.1 * noise(i)) + offset
        const evaluation = (i + 1) % Math.ceil(steps / 8) === 0 ? { eval_accuracy: 0.3 + learned } : {}
        return { step: i + 1, reward, 'contributions/format': 0.2, 'contributions/correct': reward, ...evaluation }
      })
      return { name, seed: s + 1, rows }
    }),
  )
}

/** Rows without a number in many places. */
function torn(run: PlotRun): PlotRun {
  const rows = [...run.rows].map((row, i) => ({ ...row, ...(i % 7 === 3 ? { reward: [NaN, null][i % 2] } : {}) }))
  return { ...run, rows }
}

function samples(names: readonly string[], count: number, reward: (x: number) => number): object[] {
  return names.flatMap((name, m) =>
    Array.from({ length: count }, (_, i) => ({ name, reward: reward(waves(m)(i) + waves(m + 40)(i)) })),
  )
}

const square = (size: number, label: (i: number) => string, most: number) => ({
  labels: Array.from({ length: size }, (_, i) => label(i)),
  counts: Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => (i === j ? most : (i * 7 + j) % 9))), // prettier-ignore
})

const quarter = Array.from({ length: 41 }, (_, i) => [Math.sin((i * Math.PI) / 80), Math.cos((i * Math.PI) / 80)])

/** Charts of data that is not kind: one seed and eight, twelve runs, long names, holes, one point, 10,000 of them, negative, tiny, huge
 * and equal values. */
export const hardCases: Record<string, () => Chart> = {
  'curves of one seed': () => learningCurves(runs(['grpo', 'dpo'])),
  'curves of eight seeds': () => learningCurves(runs(['grpo', 'dpo'], { seeds: 8 }), { title: 'Eight seeds' }),
  'curves of twelve runs': () => learningCurves(runs(many)),
  'curves with long names': () => learningCurves(runs(long), { title: 'Reward of the training completions' }),
  'curves with holes': () => learningCurves(runs(['grpo', 'dpo'], { seeds: 3 }).map(torn)),
  'curves of one point': () => learningCurves(runs(['grpo', 'dpo'], { steps: 1 })),
  'curves of three points': () => learningCurves(runs(['grpo', 'dpo'], { steps: 3 })),
  'curves of 10,000 points': () => learningCurves(runs(['grpo', 'dpo'], { steps: 10_000 })),
  'curves below zero': () => learningCurves(runs(['grpo', 'dpo'], { seeds: 3, scale: 40, offset: -60 })),
  'curves of tiny values': () => learningCurves(runs(['grpo'], { scale: 1e-6 })),
  'curves of huge values': () => learningCurves(runs(['grpo'], { scale: 1e8 })),
  'curves of equal values': () => learningCurves(runs(['grpo'], { scale: 0, offset: 0.3 })),
  'curves not begun': () => learningCurves({ name: 'grpo', rows: [] }),
  'curves with events': () =>
    learningCurves({
      name: 'srpo',
      rows: [...runs(['srpo'])[0]!.rows].map((row, i) =>
        i % 40 === 30 ? { ...row, event: 'weights: correct 0.7 → 0.2, format 0.3 → 0.8' } : row,
      ),
    }),
  'contributions of one step': () => rewardContributions(runs(['srpo'], { steps: 1 })),
  'contributions of 10,000 steps': () => rewardContributions(runs(['srpo'], { steps: 10_000, offset: -0.3 })),
  'contributions of many components': () =>
    rewardContributions({
      name: 'srpo',
      rows: Array.from({ length: 30 }, (_, step) => ({
        step,
        ...Object.fromEntries(many.map((name, k) => [`contributions/${name}`, 0.1 * (k - 4)])),
      })),
    }),
  'paths of twelve runs': () => proxyAgainstHeldOut(runs(many), { heldOut: 'eval_accuracy' }),
  'paths with long names': () => proxyAgainstHeldOut(runs(long, { seeds: 3 }), { heldOut: 'eval_accuracy' }),
  'a path of one point': () => proxyAgainstHeldOut(runs(['grpo'], { steps: 1 }), { heldOut: 'eval_accuracy' }),
  'a sweep of one setting': () => weightSweep([{ name: '0.5 / 0.5', a: 0.3, b: 0.4 }], { x: 'a', y: 'b' }),
  'a sweep with a dense front': () =>
    weightSweep(quarter.map(([a, b], i) => ({ name: `${i / 40} / ${1 - i / 40}`, a, b })), { x: 'a', y: 'b' }), // prettier-ignore
  'a sweep with long names': () =>
    weightSweep(long.map((name, i) => ({ name, a: -i, b: 100 * i })), { x: 'a', y: 'b' }), // prettier-ignore
  'a sweep of 2,000 settings': () =>
    weightSweep(Array.from({ length: 2000 }, (_, i) => ({ name: `run ${i}`, a: waves(1)(i), b: waves(2)(i) })), { x: 'a', y: 'b' }), // prettier-ignore
  'distributions of twelve series': () => rewardDistribution(samples(many, 50, x => x)),
  'distributions over thirds': () => rewardDistribution(samples(long, 50, x => Math.round(Math.abs(x) * 4) / 3)),
  'distributions over twelve levels': () => rewardDistribution(samples(['grpo', 'dpo'], 400, x => Math.round(5.5 + 3 * x) / 11)), // prettier-ignore
  'a distribution of one sample': () => rewardDistribution([{ name: 'grpo', reward: 0.3 }]),
  'two classes': () => confusionMatrix(square(2, i => ['safe', 'unsafe'][i]!, 98_000)),
  'twelve classes': () => confusionMatrix(square(12, i => `operation class ${i}`, 911)),
  'thirty classes': () => confusionMatrix(square(30, i => `c${i}`, 90)),
  'classes with long names': () =>
    confusionMatrix(
      square(4, i => `${long[i]}`, 61),
      { title: 'SRPO, seed 1' },
    ),
  'differences of twelve methods': () =>
    pairedDifferences(many.map((name, i) => ({ name, mean: i / 20 - 0.2, low: i / 20 - 0.25, high: i / 20 - 0.1 }))),
  'differences with long names': () =>
    pairedDifferences(
      long.map((name, i) => ({ name, mean: i - 2, low: i - 3, high: i - 1.5 })),
      { reference: 'the base policy before any training', metric: 'rewards/correct/mean', title: 'Held out' },
    ),
  'a difference': () => pairedDifferences([{ name: 'grpo', mean: 1e-6, low: 1e-6, high: 2e-6 }]),
}
