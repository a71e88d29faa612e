import { fieldNames } from '../io/excerpt.js'
import { isConversation, type Message } from '../io/tokenizer.js'
import type { Row } from './jsonl.js'

/** A text, or messages for a chat template. */
export type TextOrMessages = string | Message[]

/** A row of preferences in TRL's columns. */
export interface PreferenceRow extends Row {
  prompt: TextOrMessages
  chosen: TextOrMessages
  rejected: TextOrMessages
}

/** Rows of preferences as TRL takes them: `prompt`, `chosen` and `rejected`, texts or messages; or without a prompt, which then is what chosen and
 * rejected have in common from their start (whole messages, or a text up to a space). Other columns stay.
 * @throws naming the row and the column that is missing, of another kind than its fellows, or the same in both */
export function preferenceRows(rows: readonly Row[]): PreferenceRow[] {
  return rows.map((row, i) => {
    const where = `preferenceRows: row ${i}`
    const [chosen, rejected] = [read(row, 'chosen', where), read(row, 'rejected', where)]
    if (typeof chosen !== typeof rejected)
      throw new Error(`${where}: chosen is ${kindOf(chosen)}, rejected is ${kindOf(rejected)}. Needed both alike.`)
    if (JSON.stringify(chosen) === JSON.stringify(rejected))
      throw new Error(`${where}: chosen and rejected are the same. Drop the row.`)
    if (row['prompt'] === undefined || row['prompt'] === null)
      return { ...row, ...withoutPrompt(chosen, rejected, where) }
    const prompt = read(row, 'prompt', where)
    if (typeof prompt === 'string' && typeof chosen !== 'string')
      throw new Error(`${where}: prompt is a text, chosen is messages. Needed both alike: put the prompt in a message.`)
    return { ...row, prompt, chosen, rejected }
  })
}

/** As TRL's extract_prompt. */
function withoutPrompt(chosen: TextOrMessages, rejected: TextOrMessages, where: string): PreferenceRow {
  const length = Math.min(chosen.length, rejected.length)
  const same = (i: number) => JSON.stringify(chosen[i]) === JSON.stringify(rejected[i])
  let common = 0
  while (common < length && same(common)) common++
  if (common > 0 && common < length && chosen[common - 1] === ' ') common--
  if (common === 0)
    throw new Error(`${where}: no prompt, and chosen and rejected begin differently. Add the column prompt.`)
  return { prompt: chosen.slice(0, common), chosen: chosen.slice(common), rejected: rejected.slice(common) }
}

/** A row to be learnt as it stands, in TRL's columns. */
export interface PromptCompletionRow extends Row {
  prompt: TextOrMessages
  completion: TextOrMessages
}

/** Rows to be learnt as they stand, of TRL's `prompt` and `completion`, texts or messages, or of `messages`: of these each turn of the assistant
 * becomes a row whose prompt is what was said before (in one row: `sft` on `messages` with assistant_only_loss).
 * @throws naming the row and the column that is missing or of another kind, or a conversation without an assistant's answer */
export function completionRows(rows: readonly Row[]): PromptCompletionRow[] {
  return rows.flatMap((row, i): PromptCompletionRow[] => {
    const where = `completionRows: row ${i}`
    const rest = { ...row }
    delete rest['messages']
    if (row['messages'] === undefined || row['messages'] === null) {
      const [prompt, completion] = [read(row, 'prompt', where), read(row, 'completion', where)]
      if (typeof prompt === 'string' && typeof completion !== 'string')
        throw new Error(`${where}: prompt is a text, completion is messages. Needed both alike: put the prompt in a message.`) // prettier-ignore
      return [{ ...rest, prompt, completion }]
    }
    const messages = read(row, 'messages', where)
    if (typeof messages === 'string') throw new Error(`${where}: messages is a text, needed [{ role, content }, …].`)
    const turns = messages.flatMap((message, at) => (at > 0 && message.role === 'assistant' ? [at] : []))
    if (turns.length === 0)
      throw new Error(`${where}: no message of the assistant answers another. Needed one to learn.`)
    return turns.map(at => ({ ...rest, prompt: messages.slice(0, at), completion: messages.slice(at, at + 1) }))
  })
}

/** Rows of prompts in TRL's column, texts or messages. Other columns stay.
 * @throws naming the row whose prompt is missing or of another kind */
export function promptRows(rows: readonly Row[]): (Row & { prompt: TextOrMessages })[] {
  return rows.map((row, i) => ({ ...row, prompt: read(row, 'prompt', `promptRows: row ${i}`) }))
}

/** A column as text or messages; the parts of a message's content that are text are joined. */
function read(row: Row, column: string, where: string): TextOrMessages {
  const value = row[column]
  if (typeof value === 'string') return value
  const plain = Array.isArray(value) ? value.map(joined) : value
  if (isConversation(plain)) return plain
  const got =
    value === undefined
      ? `is missing (got ${fieldNames(row, 'no column')})`
      : `is ${JSON.stringify(value)?.slice(0, 60)}`
  throw new Error(`${where}: column ${column} ${got}, needed a text or messages [{ role, content }, …].`)
}

function joined(message: unknown): unknown {
  const { role, content } = (message ?? {}) as { role?: unknown; content?: unknown }
  if (!Array.isArray(content) || !content.every((part: { type?: unknown } | null) => part?.type === 'text'))
    return message
  return { role, content: content.map((part: { text?: unknown }) => String(part.text)).join('') }
}

const kindOf = (value: TextOrMessages): string => (typeof value === 'string' ? 'a text' : 'messages')
