import { sum, type ArithmeticProblem, type Operation } from './arithmeticProblems.js'
import { corruptionRates, drawReply, type CorruptionRates, type Reply } from './corruptedReplies.js'
import { rng } from './rng.js'

/** Replies in English sentences, one a problem, with the faults of `corruptedReplies`: for rewards that judge form. How many words are made is drawn
 * apart from the faults, so that a long reply is right as often as a short one.
 * @param options `wordiness`: how often each sentence that could be left out is there. Default 0.5
 * @throws naming a share that is not between 0 and 1 */
export function explainedReplies(
  problems: readonly ArithmeticProblem[],
  options: CorruptionRates & { seed: number; wordiness?: number },
): Reply[] {
  const { seed, wordiness = 0.5, ...given } = options
  const rates = corruptionRates('explainedReplies', given)
  if (!(wordiness >= 0 && wordiness <= 1))
    throw new Error(`explainedReplies: wordiness is ${wordiness}, needed a share between 0 and 1. Use 0.5.`)
  const random = rng(seed, 3) // a stream of its own, since problems often carry the same seed
  return problems.map(problem => {
    const { operation, result, ending, filler } = drawReply(problem, rates, random)
    const wordy = (sentence: string, otherwise = '') => (random.uniform() < wordiness ? sentence : otherwise)
    const [verb, reason] = REASONS[operation]
    const sentences = [
      wordy(random.pick(OPENERS)),
      filler,
      wordy(`We ${verb} because ${reason}.`, `We ${verb}.`),
      `${wordy(random.pick(LINKS))}${sum(operation, problem.operands)}=${result}.`,
      wordy(random.pick(CLOSERS)),
    ]
    return { prompt: problem.prompt, completion: `${sentences.filter(Boolean).join(' ')}\n${ending}` }
  })
}

const OPENERS = ['First we read the question again.', 'First we look at the two numbers.', 'Let us see what is asked.']
const REASONS: Record<Operation, [verb: string, reason: string]> = {
  add: ['add', 'the two amounts come together'],
  sub: ['subtract', 'one amount is taken from the other'],
  mul: ['multiply', 'the same amount comes several times'],
  div: ['divide', 'the amount is split into equal parts'],
}
const LINKS = ['So ', 'Then ', 'Thus ']
const CLOSERS = ['Therefore we are done.', 'Finally we write it down.', 'Hence that is the number.']
