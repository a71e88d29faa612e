import type { MathVistaRow } from '../datasets/index.js'
import { bootstrapInterval, type BootstrapOptions } from './bootstrapInterval.js'
import { pairOf } from './values.js'

/** How many of some problems were solved. */
export interface MathVistaAccuracy {
  /** What the problems have in common: `all`, `question_type`, `task`, `skills` and so on, */
  field: string
  /** and its value. */
  value: string
  accuracy: number
  accuracy_low: number
  accuracy_high: number
  correct: number
  total: number
}

const FIELDS = ['question_type', 'answer_type', 'language', 'source', 'category', 'task', 'context', 'grade', 'skills']

/** Accuracy over all problems and over those of each type, task, source, skill and so on, as MathVista reports it, with bootstrap intervals; each
 * field's values by falling accuracy. A problem counts for each of its skills.
 * @param rows [N] what `mathVista` read
 * @param correct [N] the scores that `mathVistaAnswer` gave, 1 or 0
 * @throws if the lists are empty or differ in length, or a score is neither */
export function mathVistaAccuracy(
  rows: readonly Pick<MathVistaRow, 'question_type' | 'answer_type' | 'metadata'>[],
  correct: readonly (number | null)[],
  options: BootstrapOptions = {},
): MathVistaAccuracy[] {
  pairOf<object | number | null>(rows, correct, 'mathVistaAccuracy')
  const wrong = correct.findIndex(score => score !== 0 && score !== 1)
  if (wrong !== -1)
    throw new Error(`mathVistaAccuracy, row ${wrong}: the score is ${correct[wrong]}, needed 0 or 1. Leave such rows out of both lists.`) // prettier-ignore
  const over = (field: string, value: string, solved: readonly number[]): MathVistaAccuracy => {
    const { mean, low, high } = bootstrapInterval(solved, options)
    const right = solved.filter(score => score === 1).length
    return { field, value, accuracy: mean, accuracy_low: low, accuracy_high: high, correct: right, total: solved.length } // prettier-ignore
  }
  const parts = FIELDS.flatMap(field => {
    const groups = new Map<string, number[]>()
    rows.forEach(({ metadata, ...row }, i) => {
      const found: unknown = row[field as 'question_type'] ?? metadata[field]
      for (const value of Array.isArray(found) ? found : found === undefined || found === null ? [] : [found]) {
        const solved = groups.get(String(value)) ?? []
        solved.push(correct[i]!)
        groups.set(String(value), solved)
      }
    })
    return [...groups].map(([value, solved]) => over(field, value, solved)).sort((a, b) => b.accuracy - a.accuracy)
  })
  return [over('all', '', correct as readonly number[]), ...parts]
}
