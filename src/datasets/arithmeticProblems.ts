import { requireOneOf } from '../config.js'
import type { Message } from '../io/tokenizer.js'
import { ITEMS, LABELS, LANGUAGES, NAMES, TEMPLATES, type Language } from './problemWords.js'
import { rng, type Rng } from './rng.js'
import { drawSplits, type Splits } from './splits.js'

export type Operation = 'add' | 'sub' | 'mul' | 'div'
export const OPERATIONS: readonly Operation[] = ['add', 'sub', 'mul', 'div']

/** A word problem in GSM8K's record format, with the class of its operation as a label. */
export interface ArithmeticProblem {
  question: string
  /** Working, then `#### NUMBER` on the last line. */
  answer: string
  /** The conversation so far, for a chat template. */
  prompt: Message[]
  /** The right reply: `add: 7+5=12` (`addition : 7+5=12`), then `<answer>12</answer>`. */
  completion: string
  operation: Operation
  /** The two numbers, in the order of the working. */
  operands: [number, number]
  /** What a careless reader would compute. */
  tempting: Operation
  /** Whether the wording hints at the tempting operation ("5 more than Ann"). */
  misleading: boolean
  language: Language
}

export interface ArithmeticOptions {
  seed: number
  /** Problems in all; a tenth each go to dev and test. */
  size: number
  /** Default English. */
  language?: Language
}

/** Arithmetic word problems in English or French: 14 templates (5 misleading) over 4 operations, all questions distinct.
 *
 * Add and sub take 2…20, mul 2…9 × 2…9, div is its inverse. The split is a hash of the question, the same for every
 * seed and size: what is test here is training data nowhere. Only questions are held out; the facts (7+5=12) occur in all
 * splits, so that held-out accuracy tells of reading the question and keeping the format, not of new arithmetic.
 * @throws for an unknown language; if `size` is not a whole number of at least 10, or more than there are questions */
export function arithmeticProblems({ seed, size, language = 'en' }: ArithmeticOptions): Splits<ArithmeticProblem> {
  requireOneOf('arithmeticProblems', 'language', language, LANGUAGES)
  const random = rng(seed)
  const seen = new Set<string>()
  return drawSplits('arithmeticProblems', size, () => {
    const row = drawProblem(random, language)
    const text = row.question
    if (seen.has(text)) return null
    seen.add(text)
    return { row: () => row, text }
  })
}

/** The result of an operation; a difference is taken larger minus smaller.
 * @returns a whole number for the operands that problems use */
export function compute(operation: Operation, a: number, b: number): number {
  switch (operation) {
    case 'add':
      return a + b
    case 'sub':
      return Math.abs(a - b)
    case 'mul':
      return a * b
    case 'div':
      return a / b
  }
}

/** An equation as the replies write it: `sub: 9-4=5`, in French `soustraction : 9-4=5`. */
export function equation(
  operation: Operation,
  [a, b]: readonly [number, number],
  { language = 'en', result = compute(operation, a, b) }: { language?: Language; result?: number } = {},
): string {
  return `${LABELS[language][operation]} ${sum(operation, [a, b])}=${result}`
}

/** The left side of an equation, for a difference with the larger number first: `9-4`. */
export function sum(operation: Operation, [a, b]: readonly [number, number]): string {
  const [first, second] = operation === 'sub' ? [Math.max(a, b), Math.min(a, b)] : [a, b]
  return `${first}${SIGNS[operation]}${second}`
}

/** Operands as problems draw them. */
export function drawOperands(operation: Operation, random: Rng): [number, number] {
  const between = (low: number, high: number): number => low + random.int(high - low + 1)
  switch (operation) {
    case 'add':
      return [between(2, 20), between(2, 20)]
    case 'sub': {
      const b = between(2, 19)
      return [between(b + 1, 20), b]
    }
    case 'mul':
      return [between(2, 9), between(2, 9)]
    case 'div': {
      const b = between(2, 9)
      return [b * between(2, 9), b]
    }
  }
}

const SIGNS: Record<Operation, string> = { add: '+', sub: '-', mul: '*', div: '/' }
function drawProblem(random: Rng, language: Language): ArithmeticProblem {
  const { operation, tempting, misleading = false, [language]: text } = random.pick(TEMPLATES)
  const [a, b] = drawOperands(operation, random)
  const name = random.pick(NAMES[language])
  const other = random.pick(NAMES[language].filter(candidate => candidate !== name))
  const question = text({ a, b, name, other, items: random.pick(ITEMS[language]) })
  const result = compute(operation, a, b)
  const working = sum(operation, [a, b])
  return {
    question,
    answer: `${working} = <<${working}=${result}>>${result}\n#### ${result}`,
    prompt: [{ role: 'user', content: question }],
    completion: `${equation(operation, [a, b], { language })}\n<answer>${result}</answer>`,
    operation,
    operands: [a, b],
    tempting,
    misleading,
    language,
  }
}
