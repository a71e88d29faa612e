import { pairOf, type Values } from './values.js'

export type Label = string | number | boolean

export interface ClassScore {
  label: Label
  precision: number
  recall: number
  f1: number
  /** Items that truly are of this class. */
  support: number
}

export interface ClassOptions {
  /** The classes to report, in this order. Default: all that occur, sorted. Other predictions count as misses. */
  labels?: readonly Label[]
}

/** Precision, recall and F1 of each class; 0 where a quotient has no denominator, as scikit-learn's `zero_division=0`.
 * @param predicted null where no class was named: a miss of the true class
 * @throws if the lists are empty, differ in length, or a true label is null */
export function classScores(
  truth: Values<Label>,
  predicted: Values<Label | null>,
  options: ClassOptions = {},
): ClassScore[] {
  const [actual, guessed] = labelled(truth, predicted, 'classScores')
  return labelsOf(actual, guessed, options).map(label => {
    const { hits, named, support } = tally(actual, guessed, label)
    return {
      label,
      precision: ratio(hits, named),
      recall: ratio(hits, support),
      f1: ratio(2 * hits, named + support),
      support,
    }
  })
}

/** Checked true labels and predictions. */
export function labelled(
  truth: Values<Label>,
  predicted: Values<Label | null>,
  where: string,
): [readonly Label[], readonly (Label | null)[]] {
  const [actual, guessed] = pairOf<Label | null>(truth, predicted, where)
  const row = actual.findIndex(label => label === null || label === undefined)
  if (row !== -1)
    throw new Error(
      `${where}, row ${row}: the true label is ${actual[row]}, needed a class. Leave such rows out of both lists.`,
    )
  return [actual as readonly Label[], guessed]
}

/** The classes to report: those asked for, or all that occur, sorted. */
export function labelsOf(
  actual: readonly Label[],
  guessed: readonly (Label | null)[],
  { labels }: ClassOptions,
): readonly Label[] {
  const occurring = new Set([...actual, ...guessed].filter(label => label !== null && label !== undefined))
  return labels ?? [...occurring].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
}

/** How often a class was rightly named, named at all, and true. */
export function tally(
  actual: readonly Label[],
  guessed: readonly (Label | null)[],
  label: Label,
): { hits: number; named: number; support: number } {
  return {
    hits: actual.filter((value, i) => value === label && guessed[i] === label).length,
    named: guessed.filter(value => value === label).length,
    support: actual.filter(value => value === label).length,
  }
}

/** A quotient, 0 where there is nothing to divide by. */
export function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole
}
