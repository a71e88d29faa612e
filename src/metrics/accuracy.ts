import type { Label } from './classScores.js'
import { pairOf, type Values } from './values.js'

/** The share of items whose prediction is the true label.
 * @throws if the lists are empty or differ in length */
export function accuracy(truth: Values<Label | null>, predicted: Values<Label | null>): number {
  const [labels, predictions] = pairOf(truth, predicted, 'accuracy')
  return labels.filter((label, i) => label === predictions[i]).length / labels.length
}
