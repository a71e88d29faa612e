import { bootstrapRatio, type BootstrapOptions, type Interval } from './bootstrapInterval.js'
import { ratio } from './classScores.js'
import { pairOf } from './values.js'

/** The labels of an item, in any order; none is a list without entries. */
export type Labels = readonly string[]

/** How a label was given, over items that may have several. */
export interface LabelScore {
  label: string
  precision: number
  recall: number
  f1: number
  /** Items that truly have the label. */
  support: number
  truePositives: number
  falsePositives: number
  falseNegatives: number
  trueNegatives: number
  /** FP / (FP + TN). */
  falsePositiveRate: number
  /** Bounds of bootstrap intervals over items, where `interval` asks for them. */
  precision_low?: number
  precision_high?: number
  recall_low?: number
  recall_high?: number
  f1_low?: number
  f1_high?: number
  falsePositiveRate_low?: number
  falsePositiveRate_high?: number
}

/** Each label's precision, recall, F1 and counts, where an item has any number of labels; 0 where a quotient has no denominator.
 * @param truth [N] the labels of each item
 * @param predicted [N] the labels that were given; others than `labels` do not count
 * @param labels those to report, in this order
 * @param options.interval bootstrap options, or true: bounds beside each quotient
 * @throws if the lists are empty or differ in length; naming the row whose true labels are not among `labels` */
export function labelScores(
  truth: readonly Labels[],
  predicted: readonly Labels[],
  labels: Labels,
  { interval = false }: { interval?: boolean | BootstrapOptions } = {},
): LabelScore[] {
  pairOf(truth, predicted, 'labelScores')
  checkLabels(truth, labels, 'labelScores')
  return labels.map(label => {
    const [actual, given] = [indicator(truth, label), indicator(predicted, label)]
    const counts = countsOf(actual, given)
    const scores = { label, ...ratesOf(counts), support: sum(actual), ...counts }
    if (interval === false) return scores
    const options = interval === true ? {} : interval
    const hits = actual.map((a, i) => a * given[i]!)
    const free = actual.map(a => 1 - a)
    return {
      ...scores,
      ...bounds('precision', bootstrapRatio(hits, given, options)),
      ...bounds('recall', bootstrapRatio(hits, actual, options)),
      ...bounds('f1', bootstrapRatio(hits.map(h => 2 * h), actual.map((a, i) => a + given[i]!), options)), // prettier-ignore
      ...bounds('falsePositiveRate', bootstrapRatio(given.map((g, i) => g * free[i]!), free, options)), // prettier-ignore
    }
  })
}

/** How often a flag was right and wrong, raised and not. */
export interface Counts {
  truePositives: number
  falsePositives: number
  falseNegatives: number
  trueNegatives: number
}

/** Counts of flags, which may be probabilities, over items that are positive (1) or not (0). */
export function countsOf(actual: readonly number[], flags: readonly number[]): Counts {
  const hits = sum(actual.map((a, i) => a * flags[i]!))
  return countsFrom({ items: actual.length, positives: sum(actual), flagged: sum(flags), hits })
}

/** The four counts from their margins and what was rightly flagged. */
export function countsFrom(of: Record<'items' | 'positives' | 'flagged' | 'hits', number>): Counts {
  return {
    truePositives: of.hits,
    falsePositives: of.flagged - of.hits,
    falseNegatives: of.positives - of.hits,
    trueNegatives: of.items - of.positives - of.flagged + of.hits,
  }
}

/** The quotients of counts; 0 where one has no denominator. */
export function ratesOf({ truePositives, falsePositives, falseNegatives, trueNegatives }: Counts) {
  return {
    precision: ratio(truePositives, truePositives + falsePositives),
    recall: ratio(truePositives, truePositives + falseNegatives),
    f1: ratio(2 * truePositives, 2 * truePositives + falsePositives + falseNegatives),
    falsePositiveRate: ratio(falsePositives, falsePositives + trueNegatives),
  }
}

/** 1 where an item has the label, 0 where not. */
export function indicator(items: readonly Labels[], label: string): number[] {
  return items.map(item => Number(item.includes(label)))
}

/** @throws naming the row whose true labels are not among the given ones */
export function checkLabels(truth: readonly Labels[], labels: Labels, where: string): void {
  truth.forEach((item, row) => {
    const unknown = item.find(label => !labels.includes(label))
    if (unknown !== undefined)
      throw new Error(
        `${where}, row ${row}: the true label is ${JSON.stringify(unknown)}, needed one of ${labels.join(', ')}. Add it to labels.`,
      )
  })
}

/** An interval as columns beside its figure, as `exportTable` reads them. */
export function bounds<const K extends string>(name: K, { low, high }: Interval) {
  return { [`${name}_low`]: low, [`${name}_high`]: high } as Record<`${K}_low` | `${K}_high`, number>
}

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
