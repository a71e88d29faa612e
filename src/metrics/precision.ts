import { averaged, type AverageOptions } from './averaged.js'
import type { Label } from './classScores.js'
import type { Values } from './values.js'

/** How often a named class is the true one: hits / named, over the classes as the options say (default: their plain mean).
 * @param predicted null where no class was named: a miss of the true class
 * @returns between 0 and 1; a class without denominator counts as 0, as scikit-learn's `zero_division=0`
 * @throws if the lists are empty, differ in length, or a true label is null */
export function precision(truth: Values<Label>, predicted: Values<Label | null>, options: AverageOptions = {}): number {
  return averaged('precision', truth, predicted, options)
}
