import {
  confusionMatrix,
  groupRanking,
  learningCurves,
  pairedDifferences,
  proxyAgainstHeldOut,
  rewardContributions,
  rewardDistribution,
  weightSweep,
  type Chart,
} from '../../src/plots/index.js'
import { study } from './study.js'

/** Every chart of the module on made-up data of realistic form: examples to copy, and what the snapshots hold. */
export const figures: Record<string, (size?: { seeds: number; steps: number }) => Chart> = {
  learningCurves: size => learningCurves(study(size), { metric: 'reward', ci: 0.95, title: 'Training reward' }),

  rewardContributions: size =>
    rewardContributions(
      study(size).filter(run => run.name === 'srpo'),
      { weights: { format: 0.3, correct: 0.7, length: -0.2 } },
    ),

  groupRanking: () =>
    groupRanking(
      [
        { completion: '7 - 5 = 2\n<answer>2</answer>', components: { format: 1, correct: 0, length: 0.9 } },
        { completion: '7 + 5 = 12\n<answer>12</answer>', components: { format: 1, correct: 1, length: 0.9 } },
        { completion: 'It is 12', components: { format: 0, correct: 1, length: 1 } },
        {
          completion: 'Ann has seven apples, Ben has five more, which makes 12\n<answer>12</answer>',
          components: { format: 1, correct: 1, length: -0.4 },
        },
        { completion: '', components: { format: null, correct: null, length: null } },
      ].map(sample => ({ prompt: 'How many?', ...sample })),
      { format: 0.3, correct: 0.7, length: 0.2 },
      { title: 'Ann has 7 apples, Ben has 5 more. How many has Ben?' },
    ),

  proxyAgainstHeldOut: size => proxyAgainstHeldOut(study(size), { heldOut: 'eval_accuracy' }),

  weightSweep: () =>
    weightSweep(
      [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1].map(w => ({
        name: `${w} / ${(1 - w).toFixed(1)}`,
        format: 0.55 + 0.44 * Math.sqrt(w) - (w === 0.4 ? 0.15 : 0),
        accuracy: 0.58 + 0.36 * (1 - w ** 3) - (w === 0.2 ? 0.1 : 0),
      })),
      { x: 'format', y: 'accuracy' },
    ),

  rewardDistribution: () =>
    rewardDistribution(
      Object.entries({ base: [46, 9, 0, 53], grpo: [5, 4, 1, 110], dpo: [18, 12, 0, 80], srpo: [3, 6, 2, 99] }).flatMap(
        ([name, counts]) => counts.flatMap((n, reward) => Array.from({ length: n }, () => ({ name, reward }))),
      ),
    ),

  rewardDensity: () =>
    rewardDistribution(
      ['base', 'srpo'].flatMap((name, m) =>
        Array.from({ length: 200 }, (_, i) => ({
          name,
          ssim: 0.5 + 0.2 * m + 0.12 * Math.sin(i) + 0.1 * Math.sin(1.7 * i),
        })),
      ),
      { value: 'ssim', bins: 16 },
    ),

  confusionMatrix: () =>
    confusionMatrix({
      labels: ['add', 'sub', 'mul', 'div'],
      counts: [
        [61, 2, 1, 0],
        [5, 55, 0, 3],
        [1, 0, 48, 14],
        [0, 4, 9, 53],
      ],
    }),

  pairedDifferences: () =>
    pairedDifferences(
      [
        { name: 'grpo', mean: 0.38, low: 0.33, high: 0.43 },
        { name: 'dpo', mean: 0.21, low: 0.13, high: 0.29 },
        { name: 'srpo', mean: 0.37, low: 0.31, high: 0.42 },
        { name: 'srpo without correctness', mean: -0.02, low: -0.06, high: 0.01 },
      ],
      { reference: 'the base policy', metric: 'accuracy' },
    ),
}
