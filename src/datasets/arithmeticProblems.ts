import type { Message } from '../io/tokenizer.js'
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
  /** The right reply: `add: 7+5=12`, then `<answer>12</answer>`. */
  completion: string
  operation: Operation
  /** The two numbers, in the order of the working. */
  operands: [number, number]
  /** What a careless reader would compute. */
  tempting: Operation
  /** Whether the wording hints at the tempting operation ("5 more than Ann"). */
  misleading: boolean
}

export interface ArithmeticOptions {
  seed: number
  /** Problems in all; a tenth each go to dev and test. */
  size: number
}

/** Arithmetic word problems: 14 templates (5 misleading) over 4 operations, all questions distinct.
 *
 * Add and sub take 2…20, mul 2…9 × 2…9, div is its inverse. The split is a hash of the question, the same for every
 * seed and size: what is test here is training data nowhere. Only questions are held out; the facts (7+5=12) occur in all
 * splits, so that held-out accuracy tells of reading the question and keeping the format, not of new arithmetic.
 * @throws if `size` is not a whole number of at least 10, or more than there are questions */
export function arithmeticProblems({ seed, size }: ArithmeticOptions): Splits<ArithmeticProblem> {
  const random = rng(seed)
  const seen = new Set<string>()
  return drawSplits('arithmeticProblems', size, () => {
    const row = drawProblem(random)
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

/** An equation as the replies write it: `sub: 9-4=5`. */
export function equation(operation: Operation, a: number, b: number, result = compute(operation, a, b)): string {
  const [first, second] = operation === 'sub' ? [Math.max(a, b), Math.min(a, b)] : [a, b]
  return `${operation}: ${first}${SIGNS[operation]}${second}=${result}`
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
const NAMES = ['Ann', 'Ben', 'Mia', 'Tom', 'Eva', 'Leo', 'Zoe', 'Sam', 'Ida', 'Max', 'Amy', 'Dan']
const ITEMS = ['apples', 'books', 'coins', 'pens', 'cards', 'cakes', 'stamps', 'shells', 'eggs', 'toys']

interface Template {
  operation: Operation
  tempting: Operation
  misleading?: true
  text(words: { a: number; b: number; name: string; other: string; items: string }): string
}

// prettier-ignore
const TEMPLATES: readonly Template[] = [
  { operation: 'add', tempting: 'sub', text: w => `${w.name} has ${w.a} ${w.items} and gets ${w.b} more. How many ${w.items} does ${w.name} have now?` },
  { operation: 'add', tempting: 'sub', text: w => `${w.name} has ${w.a} ${w.items} and ${w.other} has ${w.b}. How many ${w.items} do they have together?` },
  { operation: 'add', tempting: 'sub', misleading: true, text: w => `${w.name} has ${w.a} ${w.items}, which is ${w.b} fewer than ${w.other}. How many ${w.items} does ${w.other} have?` },
  { operation: 'add', tempting: 'sub', misleading: true, text: w => `${w.name} has ${w.a} ${w.items} left after giving away ${w.b}. How many ${w.items} did ${w.name} have before?` },
  { operation: 'sub', tempting: 'add', text: w => `${w.name} has ${w.a} ${w.items} and gives ${w.b} to ${w.other}. How many ${w.items} are left?` },
  { operation: 'sub', tempting: 'add', text: w => `${w.name} needs ${w.a} ${w.items} and has ${w.b}. How many ${w.items} are missing?` },
  { operation: 'sub', tempting: 'add', misleading: true, text: w => `${w.name} has ${w.a} ${w.items}, which is ${w.b} more than ${w.other}. How many ${w.items} does ${w.other} have?` },
  { operation: 'sub', tempting: 'add', misleading: true, text: w => `${w.name} has ${w.a} ${w.items} after getting ${w.b} more. How many ${w.items} did ${w.name} have before?` },
  { operation: 'mul', tempting: 'add', text: w => `${w.name} has ${w.a} boxes with ${w.b} ${w.items} in each. How many ${w.items} does ${w.name} have?` },
  { operation: 'mul', tempting: 'add', text: w => `${w.name} and ${w.other} pack ${w.a} bags with ${w.b} ${w.items} each. How many ${w.items} do they pack?` },
  { operation: 'mul', tempting: 'add', misleading: true, text: w => `${w.name} gets ${w.a} more ${w.items} every day. How many ${w.items} does ${w.name} get in ${w.b} days?` },
  { operation: 'div', tempting: 'sub', text: w => `${w.name} shares ${w.a} ${w.items} equally among ${w.b} friends. How many ${w.items} does each friend get?` },
  { operation: 'div', tempting: 'sub', text: w => `${w.name} puts ${w.a} ${w.items} into bags of ${w.b}. How many bags does ${w.name} fill?` },
  { operation: 'div', tempting: 'sub', text: w => `${w.name} and ${w.other} sort ${w.a} ${w.items} into ${w.b} equal rows. How many ${w.items} are in a row?` },
]

function drawProblem(random: Rng): ArithmeticProblem {
  const { operation, tempting, misleading = false, text } = random.pick(TEMPLATES)
  const [a, b] = drawOperands(operation, random)
  const name = random.pick(NAMES)
  const other = random.pick(NAMES.filter(candidate => candidate !== name))
  const question = text({ a, b, name, other, items: random.pick(ITEMS) })
  const result = compute(operation, a, b)
  const sum = `${a}${SIGNS[operation]}${b}`
  return {
    question,
    answer: `${sum} = <<${sum}=${result}>>${result}\n#### ${result}`,
    prompt: [{ role: 'user', content: question }],
    completion: `${equation(operation, a, b)}\n<answer>${result}</answer>`,
    operation,
    operands: [a, b],
    tempting,
    misleading,
  }
}
