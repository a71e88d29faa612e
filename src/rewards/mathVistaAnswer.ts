import { nearest as nearestOf } from '../config.js'
import type { MathVistaRow } from '../datasets/index.js'
import { answerText } from './answerText.js'
import { completionText, readColumn, type Reward } from './reward.js'

/** What an answer's form depends on. */
export type MathVistaForm = Pick<MathVistaRow, 'question_type' | 'answer_type' | 'choices' | 'precision'>

export interface MathVistaOptions {
  /** Take an answer that is no letter and no choice for the choice of fewest edits, as MathVista does. Default true; false: such an answer is
   * wrong, so that training does not pay for guessing. */
  nearest?: boolean
}

/** 1 if a reply gives the right answer to a problem of MathVista, else 0.
 *
 * Reads the columns of {@link mathVista}: `answer`, `question_type`, `answer_type`, `choices`, `precision`. The answer is found in the reply by rules
 * ({@link extractMathVista}), where MathVista asks a language model, and normalised and compared as there ({@link normalizeMathVista}). null
 * where `answer` is empty, as in the test split.
 * @throws naming the row of a multiple choice without choices, or of a float without precision
 * @source MathVista, arXiv 2310.02255, evaluation/calculate_score.py */
export function mathVistaAnswer(options: MathVistaOptions = {}): Reward {
  return batch => {
    const columns = Object.fromEntries(COLUMNS.map(name => [name, readColumn('mathVistaAnswer', batch, name)]))
    return batch.completions.map((completion, row) => {
      const problem = Object.fromEntries(COLUMNS.map(name => [name, columns[name]![row]])) as unknown as MathVistaRow
      checkForm(problem, row)
      if (problem.answer === '') return null
      const given = normalizeMathVista(extractMathVista(completionText(completion), problem), problem, options)
      return Number(given !== null && given === gold(problem))
    })
  }
}

const COLUMNS = ['answer', 'question_type', 'answer_type', 'choices', 'precision'] as const

function checkForm({ question_type, answer_type, choices, precision }: MathVistaForm, row: number): void {
  if (question_type === 'multi_choice' && !choices?.length)
    throw new Error(`mathVistaAnswer, row ${row}: choices is ${JSON.stringify(choices)}, needed a list for a multiple choice.`) // prettier-ignore
  if (question_type === 'free_form' && answer_type === 'float' && !(Number(precision ?? NaN) >= 0))
    throw new Error(`mathVistaAnswer, row ${row}: precision is ${precision}, needed the digits behind the point of a float.`) // prettier-ignore
}

/** The right answer, spelt as {@link normalizeMathVista} spells answers. */
function gold(problem: MathVistaRow): string | null {
  if (problem.question_type === 'multi_choice') return problem.answer
  return normalizeMathVista(problem.answer_type === 'list' ? listOf(problem.answer) : problem.answer, problem)
}

/** The part of a reply that is the answer: what stands in `<answer>…</answer>`, in `\boxed{…}`, or after the last "answer is" or "answer:"; else a
 * reply of one line itself, of a longer one the last choice, number or list. Of a choice its letter or text, of a number its digits
 * without unit or thousands commas, of a list `[1, 2]`.
 * @returns '' where there is none */
export function extractMathVista(reply: string, { question_type, answer_type, choices }: MathVistaForm): string {
  const said = markedAnswer(reply)
  const text = said ?? reply.trim()
  if (question_type === 'multi_choice') {
    const short = said !== null || !text.includes('\n')
    return choiceIn(text, choices ?? []) ?? (short ? text : '')
  }
  switch (answer_type) {
    case 'integer':
    case 'float': {
      const numbers = numbersIn(text.slice(text.lastIndexOf('=') + 1))
      return (said === null ? numbers.at(-1) : numbers[0]) ?? ''
    }
    case 'list': {
      const list = text.match(/\[[^[\]]*\]/g)?.at(-1)
      return list !== undefined ? listOf(list) : said !== null ? listOf(said) : ''
    }
    case 'text':
      return text
  }
}

function markedAnswer(reply: string): string | null {
  const marks = [/\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}/g, /\banswer(?: is|\s*:)[:\s]*([^\n]+)/gi]
  const marked = marks.map(mark => [...reply.matchAll(mark)].at(-1)?.[1])
  const found = answerText(reply) ?? marked.find(text => text !== undefined)
  return found === undefined
    ? null
    : found.replaceAll(/\\(?:text|mathrm|mathbf)\{([^{}]*)\}/g, '$1').replaceAll(/^[\s"'`*$]+|[\s"'`*$.]+$/g, '')
}

/** The choice that a text names: a letter of its own, the choice itself, or the only choice or last letter in brackets within the text. */
function choiceIn(text: string, choices: readonly string[]): string | undefined {
  const isLetter = (letter: string | undefined): letter is string =>
    letter !== undefined && letter.toUpperCase().charCodeAt(0) - A < choices.length
  const alone = /^(?:(?:option|choice)\s+)?\(?([a-z])\)?(?:[.):,]|$)/i.exec(text)?.[1]
  if (isLetter(alone)) return alone.toUpperCase()
  const same = choices.find(choice => choice.trim().toLowerCase() === text.toLowerCase())
  if (same !== undefined) return same
  const letter = [...text.matchAll(/\(([a-z])\)/gi)].at(-1)?.[1]
  if (isLetter(letter)) return letter.toUpperCase()
  const words = ` ${wordsOf(text)} `
  const named = choices.filter(choice => wordsOf(choice) !== '' && words.includes(` ${wordsOf(choice)} `))
  return named.length === 1 ? named[0] : undefined
}

const A = 'A'.charCodeAt(0)

const wordsOf = (text: string): string => (text.toLowerCase().match(/[\p{L}\p{N}.°-]*[\p{L}\p{N}°]/gu) ?? []).join(' ')

const numbersIn = (text: string): string[] =>
  (text.replaceAll('−', '-').match(/(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:e[-+]?\d+)?/gi) ?? [])
    .map(number => number.replaceAll(',', '')) // prettier-ignore

/** As Python writes a list of these items. */
const listOf = (text: string): string =>
  `[${text.replaceAll(/^\s*\[|\]\s*$/g, '').split(',').map(item => item.trim()).join(', ')}]` // prettier-ignore

/** An extracted answer in MathVista's spelling; null where it has none.
 * @source `normalize_extracted_answer` with `ignore_empty_extractions` */
export function normalizeMathVista(
  extraction: string,
  { question_type, answer_type, choices, precision }: MathVistaForm,
  { nearest = true }: MathVistaOptions = {},
): string | null {
  if (question_type === 'multi_choice') {
    const text = extraction.trim()
    if (text === '' || !choices?.length) return null
    const letter = /\(([a-zA-Z])\)/.exec(text)?.[1]?.toUpperCase() ?? text
    const index = /^[A-Z]$/.test(letter) ? letter.charCodeAt(0) - A : -1
    if (index >= 0 && index < choices.length) return choices[index]!
    return nearest ? nearestOf(letter, choices) : (choices.find(choice => choice === text) ?? null)
  }
  switch (answer_type) {
    case 'integer': {
      const value = floatOf(extraction)
      return value === null ? null : String(BigInt(Math.trunc(value)))
    }
    case 'float': {
      const value = floatOf(extraction)
      return value === null || precision === null ? null : spelt(rounded(value, Math.trunc(precision)))
    }
    case 'list':
      return extraction
    case 'text': // of free answers MathVista has none
      return extraction.trim().toLowerCase()
  }
}

/** Python's `float(text)`, of finite numbers. */
function floatOf(text: string): number | null {
  const value = /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i.test(text) ? Number(text) : NaN
  return Number.isFinite(value) ? value : null
}

/** Python's `round(value, digits)`: a tie goes to the even digit, where toFixed moves away from zero. */
function rounded(value: number, digits: number): number {
  if (Math.abs(value) >= 1e21) return value // toFixed has no digits of those
  const exact = Math.abs(value).toFixed(100)
  const cut = exact.indexOf('.') + 1 + digits
  const even = Number(exact.slice(0, cut).replace('.', '').at(-1)) % 2 === 0
  const down = /^50*$/.test(exact.slice(cut)) && even
  return Math.sign(value) * Number(down ? exact.slice(0, cut) : Math.abs(value).toFixed(digits))
}

/** Python's `str(float)` below 1e16. */
const spelt = (value: number): string =>
  Object.is(value, -0) ? '-0.0' : Number.isInteger(value) ? value.toFixed(1) : String(value)
