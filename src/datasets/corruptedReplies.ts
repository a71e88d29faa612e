import { compute, equation, type ArithmeticProblem, type Operation } from './arithmeticProblems.js'
import type { Message } from '../io/tokenizer.js'
import { FILLERS, WRONG_ENDINGS } from './problemWords.js'
import { rng, type Rng } from './rng.js'

/** Shares of replies that carry each fault; faults are drawn independently of one another. */
export interface CorruptionRates {
  /** No `<answer>NUMBER</answer>` on the last line. Default 0.2. */
  format?: number
  /** The tempting operation, computed consistently. Default 0.1. */
  operation?: number
  /** The same where the wording misleads; above one half the wrong operation is the likeliest reply. Default 0.55. */
  misled?: number
  /** An equation whose result is off. Default 0.06. */
  result?: number
  /** A sentence of padding before the working. Default 0.2. */
  filler?: number
}

/** A supervised row: the problem's conversation and a reply that may be wrong. */
export interface Reply {
  prompt: Message[]
  completion: string
}

/** Replies with known faults, one a problem, to pre-train a policy of middling skill that reinforcement learning can improve.
 *
 * The defaults leave about 55 % of the replies right in format and number.
 * @throws naming a rate that is not between 0 and 1 */
export function corruptedReplies(
  problems: readonly ArithmeticProblem[],
  options: CorruptionRates & { seed: number },
): Reply[] {
  const { seed, ...given } = options
  const rates = corruptionRates('corruptedReplies', given)
  const random = rng(seed, 1) // a stream of its own, since problems often carry the same seed
  return problems.map(problem => {
    const { operation, result, ending, filler } = drawReply(problem, rates, random)
    const working = equation(operation, problem.operands, { language: problem.language, result })
    return { prompt: problem.prompt, completion: `${filler === null ? '' : `${filler}\n`}${working}\n${ending}` }
  })
}

/** What a reply says, its faults drawn. */
export interface DrawnReply {
  operation: Operation
  /** Of the working, right or not. */
  result: number
  /** The last line. */
  ending: string
  filler: string | null
}

export function drawReply(problem: ArithmeticProblem, rates: Required<CorruptionRates>, random: Rng): DrawnReply {
  const wrongOperation = random.uniform() < (problem.misleading ? rates.misled : rates.operation)
  const wrongResult = random.uniform() < rates.result
  const wrongFormat = random.uniform() < rates.format
  const filled = random.uniform() < rates.filler
  const operation = wrongOperation ? problem.tempting : problem.operation
  const right = compute(operation, ...problem.operands)
  const result = wrongResult ? Math.abs(right + random.pick(SLIPS)) : right
  const { language } = problem
  const ending = wrongFormat ? random.pick(WRONG_ENDINGS[language])(result) : `<answer>${result}</answer>`
  return { operation, result, ending, filler: filled ? random.pick(FILLERS[language]) : null }
}

/** Rates with what was not given filled in.
 * @throws naming a rate that is not between 0 and 1 */
export function corruptionRates(where: string, given: CorruptionRates): Required<CorruptionRates> {
  const rates = { format: 0.2, operation: 0.1, misled: 0.55, result: 0.06, filler: 0.2, ...given }
  for (const [name, rate] of Object.entries(rates))
    if (!(rate >= 0 && rate <= 1))
      throw new Error(`${where}: ${name} is ${rate}, needed a share between 0 and 1. Use for example 0.2.`)
  return rates
}

/** None leaves a result r as it is, since |r + slip| = r needs slip = −2r. */
const SLIPS = [-1, 1, 2, 3, 10] as const
