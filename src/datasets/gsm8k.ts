import { excerpt, fieldNames } from '../io/excerpt.js'
import { jsonLines } from './jsonl.js'
import type { Message } from '../io/tokenizer.js'

/** A problem in GSM8K's record format with the columns that training reads. */
export interface Gsm8kRow {
  question: string
  /** Working, then `#### NUMBER` on the last line. */
  answer: string
  /** The conversation so far, for a chat template. */
  prompt: Message[]
  /** The assistant's turn to learn from: working without calculator marks, then `<answer>NUMBER</answer>`. */
  completion: string
}

export interface Gsm8kOptions {
  /** The system message that asks for the answer's form; an empty string leaves it out. */
  instruction?: string
}

const INSTRUCTION = 'Reason step by step. Put the final number alone on the last line as <answer>NUMBER</answer>.'

const LONGEST = 100 // digits, as the pattern looks at each as often as there are

/** Reads GSM8K's JSON lines as published (`question`, `answer` ending in `#### NUMBER`), gzip-compressed or not.
 * @throws naming the file, the line and the field that is missing or malformed; or that there is no row
 * @source Cobbe et al., Training Verifiers to Solve Math Word Problems, arXiv 2110.14168 */
export function gsm8k(path: string, { instruction = INSTRUCTION }: Gsm8kOptions = {}): Gsm8kRow[] {
  const system: Message[] = instruction === '' ? [] : [{ role: 'system', content: instruction }]
  const rows: Gsm8kRow[] = []
  for (const { row, line } of jsonLines(path)) {
    const where = `gsm8k: ${path}, line ${line}`
    const question = textField(row, 'question', where)
    const answer = textField(row, 'answer', where)
    const mark = answer.lastIndexOf('####')
    const number = answer.slice(mark + '####'.length).trim()
    if (mark < 0 || number.length > LONGEST || !/^-?[\d,]*\.?\d+$/.test(number))
      throw new Error(
        `${where}: field "answer" ends in ${JSON.stringify(answer.slice(-24))}, needed "#### NUMBER" as its last line. ` +
          'Check that this is GSM8K\u2019s own format.',
      )
    const before = answer.slice(0, mark).replace(/\n$/, '')
    const working = before.replace(/<<[^<>]*>>/g, '')
    const completion = `${working === '' ? '' : `${working}\n`}<answer>${number.replaceAll(',', '')}</answer>`
    rows.push({ question, answer, prompt: [...system, { role: 'user', content: question }], completion })
  }
  if (rows.length === 0)
    throw new Error(`gsm8k: ${path} is empty, needed lines with question and answer. Check the file.`)
  return rows
}

function textField(row: Record<string, unknown>, field: string, where: string): string {
  const value = row[field]
  if (typeof value === 'string' && value.trim() !== '') return value
  const got = value === undefined ? `is missing (got ${fieldNames(row, 'no field')})` : `is ${excerpt(value)}`
  throw new Error(`${where}: field "${field}" ${got}, needed a text. Each line holds question and answer.`)
}
