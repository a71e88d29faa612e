import { labelled, labelsOf, type ClassOptions, type Label } from './classScores.js'
import type { Values } from './values.js'

export interface Confusion {
  /** The classes in the order of rows and columns; `none` comes last where something else, or nothing, was predicted. */
  labels: string[]
  /** counts[i][j]: items of class i that were taken for class j. */
  counts: number[][]
}

/** How often each true class (rows) was taken for which (columns).
 * @param predicted null where no class was named
 * @throws if the lists are empty, differ in length, or a true label is null or not among the given ones */
export function confusionMatrix(
  truth: Values<Label>,
  predicted: Values<Label | null>,
  options: ClassOptions = {},
): Confusion {
  const [actual, guessed] = labelled(truth, predicted, 'confusionMatrix')
  const labels = labelsOf(actual, guessed, options)
  const column = (label: Label | null): number => {
    const index = labels.indexOf(label as Label)
    return index === -1 ? labels.length : index
  }
  const size = labels.length + (guessed.some(label => column(label) === labels.length) ? 1 : 0)
  const counts = Array.from({ length: size }, () => new Array<number>(size).fill(0))
  actual.forEach((label, row) => {
    if (!labels.includes(label))
      throw new Error(
        `confusionMatrix, row ${row}: the true label is ${label}, needed one of ${labels.join(', ')}. Add it to labels.`,
      )
    counts[column(label)]![column(guessed[row]!)]!++
  })
  return { labels: [...labels.map(String), 'none'].slice(0, size), counts }
}
