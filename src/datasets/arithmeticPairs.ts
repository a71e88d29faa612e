import { arithmeticProblems, type ArithmeticOptions, type ArithmeticProblem } from './arithmeticProblems.js'
import { corruptedReplies } from './corruptedReplies.js'
import type { Splits } from './splits.js'

/** A word problem with a preferred reply and another, in TRL's columns. */
export interface ArithmeticPair extends ArithmeticProblem {
  chosen: string
  rejected: string
}

/** Arithmetic problems with the right reply, and a careless one: it takes the operation that the wording tempts to, and has the other faults of
 * `corruptedReplies` as often as those do.
 * @throws as `arithmeticProblems` */
export function arithmeticPairs(options: ArithmeticOptions): Splits<ArithmeticPair> {
  const { train, dev, test } = arithmeticProblems(options)
  const paired = (rows: readonly ArithmeticProblem[]): ArithmeticPair[] => {
    const careless = corruptedReplies(rows, { seed: options.seed, operation: 1, misled: 1 })
    return rows.map((row, i) => ({ ...row, chosen: row.completion, rejected: careless[i]!.completion }))
  }
  return { train: paired(train), dev: paired(dev), test: paired(test) }
}
