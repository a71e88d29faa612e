import { countsFrom, ratesOf, sum, type Counts } from './labelScores.js'
import { pairOf } from './values.js'

/** What flagging all items of at least a score comes to. */
export interface ThresholdPoint extends Counts {
  /** Infinity: nothing is flagged. */
  threshold: number
  precision: number
  recall: number
  f1: number
  falsePositiveRate: number
}

/** Precision, recall, F1 and false-positive rate of flagging `score ≥ threshold`, for each threshold that tells items apart: Infinity,
 * then the scores that occur, falling, so that recall and false-positive rate rise. Items of one score are flagged together.
 *
 * The points of scikit-learn's `precision_recall_curve` and of `roc_curve(drop_intermediate=False)`; as there, precision is 1 where
 * nothing is flagged.
 * @param truth [N] whether an item is positive
 * @param scores [N] higher: more likely positive
 * @throws if the lists are empty or differ in length; if a score is NaN; if all items are positive, or none is */
export function thresholdSweep(truth: readonly boolean[], scores: readonly number[]): ThresholdPoint[] {
  const actual = positivesOf(truth, scores, 'thresholdSweep')
  const ranked = scores.map((score, i) => ({ score, positive: actual[i]! })).sort((a, b) => b.score - a.score)
  const [items, positives] = [ranked.length, sum(actual)]
  let [flagged, hits] = [0, 0]
  const points: ThresholdPoint[] = []
  const add = (threshold: number): void => {
    const counts = countsFrom({ items, positives, flagged, hits })
    points.push({ threshold, ...counts, ...ratesOf(counts), ...(flagged === 0 && { precision: 1 }) })
  }
  add(Infinity)
  ranked.forEach(({ score, positive }, i) => {
    flagged++
    hits += positive
    if (score !== ranked[i + 1]?.score) add(score)
  })
  return points
}

/** The point of highest recall whose false-positive rate is at most the given one; of several the highest threshold.
 * @param rate between 0 and 1
 * @throws if the rate is out of range, or as {@link thresholdSweep} */
export function recallAtFalsePositiveRate(
  truth: readonly boolean[],
  scores: readonly number[],
  rate: number,
): ThresholdPoint {
  requireRate(rate, 'recallAtFalsePositiveRate')
  const allowed = thresholdSweep(truth, scores).filter(point => point.falsePositiveRate <= rate)
  return allowed.reduce((best, point) => (point.recall > best.recall ? point : best))
}

/** With which probability each item is flagged, so that exactly the given share of negatives is: 1 above a threshold, 0 below, and
 * between them for the items at it. Recall follows the ROC curve, straight between its points.
 * @returns [N]
 * @throws as {@link recallAtFalsePositiveRate} */
export function flagsAtFalsePositiveRate(truth: readonly boolean[], scores: readonly number[], rate: number): number[] {
  requireRate(rate, 'flagsAtFalsePositiveRate')
  const points = thresholdSweep(truth, scores)
  // The last point that the rate allows, and the one after it, whose added items are flagged with a probability.
  const last = points.findLastIndex(point => point.falsePositiveRate <= rate)
  const [inside, beyond] = [points[last]!, points[last + 1]]
  if (beyond === undefined) return scores.map(() => 1)
  const share = (rate - inside.falsePositiveRate) / (beyond.falsePositiveRate - inside.falsePositiveRate)
  return scores.map(score => (score >= inside.threshold ? 1 : score === beyond.threshold ? share : 0))
}

function requireRate(rate: number, where: string): void {
  if (!(rate >= 0 && rate <= 1))
    throw new Error(`${where}: the false-positive rate is ${rate}, needed a number from 0 to 1. Use for example 0.1.`)
}

function positivesOf(truth: readonly boolean[], scores: readonly number[], where: string): number[] {
  pairOf<boolean | number>(truth, scores, where)
  const row = scores.findIndex(score => Number.isNaN(score))
  if (row !== -1) throw new Error(`${where}, row ${row}: the score is NaN, needed a number. Leave such items out.`)
  const positives = truth.filter(positive => positive).length
  if (positives === 0 || positives === truth.length)
    throw new Error(
      `${where}: ${positives} of ${truth.length} items are positive, needed some that are and some that are not. Use other items.`,
    )
  return truth.map(Number)
}
