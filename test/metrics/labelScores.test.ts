import assert from 'node:assert/strict'
import { bootstrapInterval, bootstrapRatio, labelScores } from '../../src/metrics/index.js'
import { binary, flagging, near, width } from './reference.js'

describe('labelScores', () => {
  it("equals scikit-learn's precision_recall_fscore_support and multilabel_confusion_matrix", () => {
    for (const { truth, predicted, scores } of flagging.multilabel)
      labelScores(truth, predicted, flagging.labels).forEach((score, k) => {
        for (const [key, want] of Object.entries(scores[k]!)) {
          const got = score[key as 'f1']
          assert.ok(key === 'label' ? got === want : near(got, want as number), `${score.label} ${key}: ${got}`)
        }
      })
  })

  it('is as worked out by hand, and passes over labels that are not asked for', () => {
    const truth = [['a', 'b'], ['a'], [], ['b']]
    const predicted = [['a'], ['a', 'c'], ['a'], []]
    assert.deepEqual(labelScores(truth, predicted, ['a', 'b']), [
      { label: 'a', precision: 2 / 3, recall: 1, f1: 4 / 5, falsePositiveRate: 1 / 2, support: 2, truePositives: 2, falsePositives: 1, falseNegatives: 0, trueNegatives: 1 },
      { label: 'b', precision: 0, recall: 0, f1: 0, falsePositiveRate: 0, support: 2, truePositives: 0, falsePositives: 0, falseNegatives: 2, trueNegatives: 2 },
    ]) // prettier-ignore
  })

  it('gives intervals on request: of recall that of the mean over positives', () => {
    const hits = binary(3, 200, 0.7)
    const truth = hits.map(() => ['a'])
    const [score] = labelScores(truth, hits.map(hit => (hit ? ['a'] : [])), ['a'], { interval: { level: 0.9 } }) // prettier-ignore
    const { low, high } = bootstrapInterval(hits, { level: 0.9 })
    assert.deepEqual([score!.recall_low, score!.recall_high], [low, high])
    assert.deepEqual([score!.precision_low, score!.precision_high], [1, 1])
    assert.ok(score!.f1_low! < score!.f1 && score!.f1 < score!.f1_high!)
    assert.deepEqual([score!.falsePositiveRate_low, score!.falsePositiveRate_high], [0, 1]) // no negatives: nothing known
    assert.equal('recall_low' in labelScores(truth, truth, ['a'])[0]!, false)
  })

  it('names what does not fit', () => {
    assert.throws(() => labelScores([], [], ['a']), /labelScores: got no values/)
    assert.throws(() => labelScores([['a']], [], ['a']), /got no values/)
    assert.throws(() => labelScores([['a'], ['b']], [[], []], ['a']), /row 1: the true label is "b", needed one of a/)
  })
})

describe('bootstrapRatio', () => {
  it('of equal wholes is the interval of the mean', () => {
    const values = binary(1, 50)
    assert.deepEqual(bootstrapRatio(values, values.map(() => 1)), bootstrapInterval(values)) // prettier-ignore
  })

  it('covers the true quotient about as often as it says', () => {
    const trials = 200
    let covered = 0
    for (let t = 0; t < trials; t++) {
      const wholes = binary(t, 150, 0.4)
      const hits = binary(1000 + t, 150, 0.7)
      const { low, high } = bootstrapRatio(wholes.map((w, i) => w * hits[i]!), wholes, { seed: t, resamples: 200 }) // prettier-ignore
      if (low <= 0.7 && 0.7 <= high) covered++
    }
    assert.ok(covered / trials > 0.88 && covered / trials < 0.99, String(covered / trials))
  })

  it('counts seeds, passes over draws without a whole, and knows nothing without any', () => {
    const whole = binary(4, 100).map(() => 1)
    const seeds = [0.2, 0.5, 0.8].map(p => binary(9, 100, p))
    assert.ok(width(bootstrapRatio(seeds, [whole, whole, whole])) > 2 * width(bootstrapRatio(seeds[1]!, whole)))
    assert.deepEqual(bootstrapRatio([1, 0, 0], [1, 0, 0]), { mean: 1, low: 1, high: 1 })
    assert.deepEqual(bootstrapRatio([0, 0], [0, 0]), { mean: 0, low: 0, high: 1 })
    assert.throws(() => bootstrapRatio([1], [1, 1]), /got 1 × 1 parts of 1 × 2 wholes/)
  })
})
