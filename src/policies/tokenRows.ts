import * as tf from '@tensorflow/tfjs-core'
import type { Message, MixedMessage, Tokenizer } from '../io/tokenizer.js'
import type { EncodeOptions } from './policy.js'
import { checkMarks, expanded, inParts, isVisionPrompt, leading, marked, type Pictures, type SightRows, type VisionPrompt } from './visionPrompts.js' // prettier-ignore

/** Text as it stands, or a conversation that goes through the chat template; with pictures, for a model that sees. */
export type Prompt = TextPrompt | VisionPrompt
export type TextPrompt = string | readonly Message[]

/** Prompts with completions, as tokens: what was drawn is never tokenised again. Rows B, prompt P, completion T. */
export type TokenRows = {
  prompt_ids: tf.Tensor // [B, P] int32, padded on the left
  prompt_mask: tf.Tensor // [B, P] int32
  completion_ids: tf.Tensor // [B, T] int32, padded on the right
  completion_mask: tf.Tensor // [B, T] int32
  /** Which of the completion's tokens `score` counts, where not all [B, T] int32. */
  loss_mask?: tf.Tensor
  /** That the rows were drawn at; 1 for rows of a data set. */
  temperature: tf.Tensor // [B]
  /** Where rows hold several of a data set behind one another [B, P + T] int32. */
  packed?: { segments: tf.Tensor; position_ids: tf.Tensor }
  /** Where some prompt has pictures: what the rows see. */
  sight?: SightRows
}

/** A prompt's tokens: of a conversation, up to where the reply begins.
 * @param pictures whose marks are expanded
 * @throws Error if there are more or fewer marks than pictures */
export function promptTokens(tokenizer: Tokenizer, prompt: Prompt, pictures?: Pictures, where = 'prompt'): number[] {
  const given = isVisionPrompt(prompt) ? marked(prompt) : prompt
  const plain = typeof given === 'string'
  const text = plain ? given : tokenizer.chat(pictures ? inParts(given) : given)
  if (pictures) checkMarks(text, pictures, where)
  return encoded(tokenizer, text, pictures, plain)
}

/** @param plain whether it is no conversation: a template writes special tokens itself, but where pictures are, those that begin a text are added
 * unless it did (transformers' processors) */
function encoded(tokenizer: Tokenizer, text: string, pictures: Pictures | undefined, plain: boolean): number[] {
  if (!pictures) return tokenizer.encode(text, { specials: plain })
  const begun = tokenizer.bos_token !== undefined && text.startsWith(tokenizer.bos_token)
  const before = tokenizer.encode(leading(pictures), { specials: false })
  return [...before, ...tokenizer.encode(expanded(text, pictures), { specials: plain || !begun })]
}

/** A row's tokens as TRL makes them, and which of them are to be learnt: what follows the prompt, from the token on in which prompt and row differ. */
export function rowTokens(
  tokenizer: Tokenizer,
  prompt: Prompt,
  output: TextPrompt,
  { completion_only_loss, assistant_only_loss }: EncodeOptions,
  pictures?: Pictures,
  where?: string,
): Counted {
  const given = isVisionPrompt(prompt) ? marked(prompt) : prompt
  const learnt = (ids: number[]) => {
    const empty = given.length === 0 && !(pictures && leading(pictures))
    const all = completion_only_loss === false || empty
    const start = all ? 0 : commonPrefix(promptTokens(tokenizer, prompt, pictures, where), ids)
    return { ids, counts: ids.map((_, i) => i >= start) }
  }
  if (typeof given === 'string') {
    if (typeof output !== 'string') throw new Error('encode: a text prompt needs a text as its output, found messages.')
    if (assistant_only_loss)
      throw new Error(`encode: assistant_only_loss needs messages, found the text ${opening(prompt)}.`)
    const end = tokenizer.eos_token ?? ''
    return learnt(encoded(tokenizer, given + (output.endsWith(end) ? output : output + end), pictures, true))
  }
  const whole = [...given, ...(typeof output === 'string' ? [{ role: 'assistant', content: output }] : output)]
  const messages = pictures ? inParts(whole) : whole
  const text = tokenizer.chat(messages, { add_generation_prompt: false })
  if (given.length > 0) requirePrefix(tokenizer.chat(messages.slice(0, given.length)), text)
  const encode = (text: string) => encoded(tokenizer, text, pictures, false)
  const row = learnt(encode(text))
  if (!assistant_only_loss) return row
  const said = saidByAssistant(tokenizer, encode, messages, text, row.ids)
  return { ids: row.ids, counts: row.counts.map((counts, i) => counts && said[i]!) }
}

/** Which tokens of a conversation its assistant says: of each of its turns what follows the prompt for it, as far as the template writes
 * it with that turn. */
function saidByAssistant(
  tokenizer: Tokenizer,
  encode: (text: string) => number[],
  messages: readonly MixedMessage[],
  text: string,
  ids: readonly number[],
): boolean[] {
  const tokensOf = (turns: number, add_generation_prompt: boolean) => {
    const part = tokenizer.chat(messages.slice(0, turns), { add_generation_prompt })
    requirePrefix(part, text)
    return commonPrefix(encode(part), ids)
  }
  const said = ids.map(() => false)
  messages.forEach(({ role }, i) => {
    if (role === 'assistant') said.fill(true, i === 0 ? 0 : tokensOf(i, true), tokensOf(i + 1, false))
  })
  return said
}

/** How a prompt begins, by which its row is found in a file. */
export function opening(given: Prompt): string {
  const prompt = isVisionPrompt(given) ? given.prompt : given
  const text = JSON.stringify(typeof prompt === 'string' ? prompt : prompt.at(-1)?.content)
  return text.length > 60 ? `${text.slice(0, 59)}…` : text
}

/** Tokens of a row and which of them are to be learnt. */
type Counted = { ids: number[]; counts: boolean[] }

/** Cuts a row, and takes for its completion what begins with the first token that counts; the very first has none before it to be foretold
 * from. */
export function split({ ids, counts }: Counted, { max_length = null, truncation_mode = 'keep_start' }: EncodeOptions) {
  const kept: [number, number?] = max_length === null ? [0] : truncation_mode === 'keep_start' ? [0, max_length] : [-max_length] // prettier-ignore
  const [left, learnt] = [ids.slice(...kept), counts.slice(...kept)]
  const first = learnt.indexOf(true, 1)
  const start = first < 0 ? left.length : first
  return { prompt: left.slice(0, start), completion: left.slice(start), counts: learnt.slice(start) }
}

/** A row of tokens, cut in two before the first that counts. */
type Split = ReturnType<typeof split> & { lengths?: number[] }

/** Rows behind one another, so many to a pack: a prompt of one token, which nothing foretells, and the rest.
 * @returns with the lengths of the rows in each */
export function joined(rows: readonly Split[], packs: readonly number[]): Split[] {
  let next = 0
  return packs.map(count => {
    const part = rows.slice(next, (next += count))
    const ids = part.flatMap(({ prompt, completion }) => [...prompt, ...completion])
    const counts = part.flatMap(({ prompt, counts }) => [...prompt.map(() => false), ...counts])
    const lengths = part.map(({ prompt, completion }) => prompt.length + completion.length)
    return { prompt: ids.slice(0, 1), completion: ids.slice(1), counts: counts.slice(1), lengths }
  })
}

/** To which row of its pack each place belongs, counted from 1, and where it stands there [B, P + T] int32; padding is of none. */
export function places(packs: readonly Split[], P: number, T: number) {
  const rows = (f: (length: number, row: number) => number[]) =>
    packs.map(({ lengths }) => {
      const [first, ...rest] = lengths!.flatMap(f)
      return [...Array<number>(P - 1).fill(0), first!, ...rest, ...Array<number>(T - rest.length).fill(0)]
    })
  const tensor = (values: number[][]) => tf.tensor2d(values, [packs.length, P + T], 'int32')
  return {
    segments: tensor(rows((length, row) => Array<number>(length).fill(row + 1))),
    position_ids: tensor(rows(length => Array.from({ length }, (_, i) => i))),
  }
}

/** How many tokens two rows have in common from their start. */
function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const end = a.findIndex((id, i) => id !== b[i])
  return end < 0 ? a.length : end
}

/** Some templates end the prompt with other white space than they put before a reply, as LLaVA-OneVision's. */
function requirePrefix(before: string, text: string): void {
  if (!text.startsWith(before.trimEnd()))
    throw new Error(
      `encode: the chat template writes the prompt as ${opening(before)} and with its reply as ${opening(text)}: ` +
        'what is learnt must follow the prompt. Use the template of the model.',
    )
}

/** Lengths that programs are compiled for: multiples of 8 up to 64, of 16 up to 128, of 32 up to 256, … */
export function bucket(length: number): number {
  const step = Math.max(8, 2 ** Math.ceil(Math.log2(length)) / 8)
  return Math.ceil(length / step) * step
}

export function padded(rows: readonly number[][], size: number, pad: number, side: 'left' | 'right') {
  const ids = new Int32Array(rows.length * size).fill(pad)
  const mask = new Int32Array(rows.length * size)
  rows.forEach((row, i) => {
    const start = i * size + (side === 'left' ? size - row.length : 0)
    ids.set(row, start)
    mask.fill(1, start, start + row.length)
  })
  const shape: [number, number] = [rows.length, size]
  return { ids: tf.tensor2d(ids, shape, 'int32'), mask: tf.tensor2d(mask, shape, 'int32'), values: { ids, mask } }
}

export type PaddedRows = ReturnType<typeof padded>

/** Rows of flags, filled up with 0 [B, size] int32. */
export const flags = (rows: readonly boolean[][], size: number): tf.Tensor =>
  tf.tensor2d(rows.map(row => Array.from({ length: size }, (_, i) => Number(row[i] ?? false))), [rows.length, size], 'int32') // prettier-ignore
