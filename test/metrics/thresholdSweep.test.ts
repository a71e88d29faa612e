import assert from 'node:assert/strict'
import { flagsAtFalsePositiveRate, recallAtFalsePositiveRate, thresholdSweep } from '../../src/metrics/index.js'
import { flagging, near } from './reference.js'

const equal = (got: number[], want: number[], what: string): void => {
  assert.equal(got.length, want.length, what)
  got.forEach((value, i) => assert.ok(near(value, want[i]!), `${what} ${i}: ${value}, not ${want[i]}`))
}

describe('thresholdSweep', () => {
  it("equals scikit-learn's precision_recall_curve and roc_curve, ties included", () => {
    for (const { truth, scores, ...curve } of flagging.curves) {
      const points = thresholdSweep(truth, scores)
      const rising = [...points].reverse()
      equal(rising.map(p => p.precision), curve.precision, 'precision') // prettier-ignore
      equal(rising.map(p => p.recall), curve.recall, 'recall') // prettier-ignore
      equal(rising.slice(0, -1).map(p => p.threshold), curve.thresholds, 'thresholds') // prettier-ignore
      equal(points.map(p => p.falsePositiveRate), curve.fpr, 'fpr') // prettier-ignore
      equal(points.map(p => p.recall), curve.tpr, 'tpr') // prettier-ignore
      equal(points.slice(1).map(p => p.threshold), curve.cuts, 'cuts') // prettier-ignore
      assert.equal(points[0]!.threshold, Infinity)
    }
  })

  it('names what does not fit', () => {
    assert.throws(() => thresholdSweep([true], [1, 2]), /got 1 values and 2/)
    assert.throws(() => thresholdSweep([true, false], [1, NaN]), /row 1: the score is NaN/)
    assert.throws(() => thresholdSweep([true, true], [1, 2]), /2 of 2 items are positive/)
  })
})

describe('recallAtFalsePositiveRate, flagsAtFalsePositiveRate', () => {
  const truth = [true, false, true, false, true, false]
  const scores = [0.9, 0.8, 0.7, 0.7, 0.7, 0.1]

  it('take the highest recall that the rate allows', () => {
    const at = (rate: number) => {
      const { threshold, recall } = recallAtFalsePositiveRate(truth, scores, rate)
      return [threshold, recall]
    }
    assert.deepEqual(at(0), [0.9, 1 / 3])
    assert.deepEqual(at(0.5), [0.9, 1 / 3]) // 0.8 has the same recall and flags more
    assert.deepEqual(at(2 / 3), [0.7, 1])
    assert.deepEqual(at(1), [0.7, 1])
    assert.throws(() => at(1.1), /false-positive rate is 1.1/)
  })

  it('flag exactly the share of negatives, those at the threshold with a probability', () => {
    assert.deepEqual(flagsAtFalsePositiveRate(truth, scores, 0), [1, 0, 0, 0, 0, 0])
    assert.deepEqual(flagsAtFalsePositiveRate(truth, scores, 0.5), [1, 1, 0.5, 0.5, 0.5, 0].map(f => (f === 0.5 ? near5 : f))) // prettier-ignore
    assert.deepEqual(flagsAtFalsePositiveRate(truth, scores, 1), [1, 1, 1, 1, 1, 1])
    for (const curve of flagging.curves)
      for (const rate of [0, 0.05, 0.3, 0.77, 1]) {
        const flags = flagsAtFalsePositiveRate(curve.truth, curve.scores, rate)
        const share = (positive: boolean): number => {
          const kept = flags.filter((_, i) => curve.truth[i] === positive)
          return kept.reduce((total, flag) => total + flag, 0) / kept.length
        }
        assert.ok(near(share(false), rate))
        assert.ok(share(true) >= recallAtFalsePositiveRate(curve.truth, curve.scores, rate).recall - 1e-12)
      }
  })
  const near5 = (0.5 - 1 / 3) / (2 / 3 - 1 / 3)
})
