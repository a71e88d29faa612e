import assert from 'node:assert/strict'
import { groupRanking, type Sample } from '../../src/plots/index.js'
import { scalarize } from '../../src/rewards/index.js'

describe('plots/groupRanking', () => {
  const names = ['format', 'correct']
  const scores = [
    [1, 1, 0, null],
    [0.2, 0.1, 0.9, 0.5],
  ]
  const samples: Sample[] = scores[0]!.map((_, n) => ({
    prompt: 'p',
    completion: `c${n}`,
    components: Object.fromEntries(names.map((name, k) => [name, scores[k]![n]!])),
  }))
  const places = (normalization: 'none' | 'group') => {
    const { layer } = groupRanking(samples, { format: 0.3, correct: 0.7 }, { normalization }) as unknown as {
      layer: { data: { values: { place: string; reward: string }[] } }[]
    }
    return layer[1]!.data.values.map(({ place, reward }) => [place.slice(-2), reward])
  }

  for (const normalization of ['none', 'group'] as const)
    it(`ranks by the reward that SRPO makes with normalization ${normalization}`, () => {
      const { reward } = scalarize(scores, { weights: [0.3, 0.7], normalization, num_generations: 4 })
      const expected = reward
        .map((r, n) => ({ r: r!, n }))
        .sort((a, b) => b.r - a.r)
        .map(({ r, n }) => [`c${n}`, r.toFixed(2)])
      assert.deepEqual(places(normalization), expected)
    })
})
