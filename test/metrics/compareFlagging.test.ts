import assert from 'node:assert/strict'
import { compareFlagging, type FlaggingSeed } from '../../src/metrics/index.js'
import { binary, near } from './reference.js'

const named = (on: readonly number[], label: string): string[][] => on.map(x => (x ? [label] : []))

describe('compareFlagging', () => {
  it('is as worked out by hand', () => {
    const truth = [['a'], ['a'], [], []]
    const seed = { trained: [['a'], ['a'], ['a'], []], start: [['a'], [], [], []], scores: { a: [0.9, 0.1, 0.5, 0.2] } }
    const rows = compareFlagging(truth, [seed], ['a'])
    const figures = rows.map(({ policy, recall, precision, f1, falsePositiveRate, gain }) => [policy, recall, precision, f1, falsePositiveRate, gain]) // prettier-ignore
    assert.deepEqual(figures, [
      ['trained', 1, 2 / 3, 4 / 5, 1 / 2, null],
      ['start', 1 / 2, 1, 2 / 3, 0, 1 / 2],
      ['start, threshold shifted', 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2], // flags the first and the third
      ['always flag', 1, 1 / 2, 2 / 3, 1, 0],
    ])
  })

  /** A start whose scores tell positives from negatives by `gap`, and a policy that flags all above `cut` of its own scores. */
  const simulated = (gap: number, seeds: number[]): { truth: string[][]; seeds: FlaggingSeed[] } => {
    const positives = binary(1, 300, 0.3)
    return {
      truth: named(positives, 'a'),
      seeds: seeds.map(seed => {
        const noise = (k: number) => Array.from({ length: 4 }, (_, j) => binary(100 * seed + 10 * k + j, 300, 0.5)).reduce((a, b) => a.map((x, i) => x + b[i]! / 4)) // prettier-ignore
        const scores = noise(1).map((x, i) => x + 0.2 * positives[i]!)
        const own = noise(2).map((x, i) => x + gap * positives[i]!)
        return { trained: named(own.map(x => Number(x > 1)), 'a'), start: named(scores.map(x => Number(x > 1.4)), 'a'), scores: { a: scores } } // prettier-ignore
      }),
    }
  }

  it('tells a policy that learnt to see from one that flags more', () => {
    const gain = (gap: number) => {
      const { truth, seeds } = simulated(gap, [1, 2, 3])
      const rows = compareFlagging(truth, seeds, ['a'], { resamples: 300 })
      const rates = rows.map(row => row.falsePositiveRate)
      assert.ok(near(rates[0]!, rates[2]!), `${rates[0]}, ${rates[2]}`)
      return rows[2]!
    }
    assert.ok(gain(0.6).gain_low! > 0)
    assert.ok(gain(0.2).gain_low! < 0 && gain(0.2).gain_high! > 0)
  })

  it('adds labels up', () => {
    const { truth, seeds } = simulated(0.6, [1])
    const twice = (items: readonly (readonly string[])[]) => items.map(item => (item.length ? ['a', 'b'] : []))
    const both = seeds.map(seed => ({ trained: twice(seed.trained), start: twice(seed.start), scores: { ...seed.scores, b: seed.scores['a']! } })) // prettier-ignore
    const rows = compareFlagging(twice(truth), both, ['a', 'b'], { resamples: 300 })
    assert.deepEqual(rows.map(row => row.label).join(' '), 'a a a a b b b b all all all all')
    for (let p = 0; p < 4; p++)
      for (const key of ['recall', 'recall_low', 'precision_high', 'f1', 'falsePositiveRate'] as const)
        assert.ok(near(rows[p]![key], rows[8 + p]![key]), `${key}: ${rows[p]![key]}, ${rows[8 + p]![key]}`)
  })

  it('names what does not fit', () => {
    const good: FlaggingSeed = { trained: [[], ['a']], start: [[], []], scores: { a: [0, 1] } }
    const run = (seed: Partial<FlaggingSeed>, truth = [[], ['a']]) => () => compareFlagging(truth, [{ ...good, ...seed }], ['a']) // prettier-ignore
    run({})()
    assert.throws(run({ scores: { b: [0, 1] } }), /seed 0 has no scores of a \(got b\)/)
    assert.throws(run({ start: [[]] }), /compareFlagging, a: got 2 values and 1/)
    assert.throws(run({}, [['a'], ['a']]), /2 of 2 items have the label a/)
    assert.throws(run({}, [[], ['b']]), /row 1: the true label is "b"/)
    assert.throws(() => compareFlagging([[], ['a']], [], ['a']), /no seed/)
  })
})
