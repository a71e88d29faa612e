import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Template } from '@huggingface/jinja'
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { excerpt } from './excerpt.js'
import { readJson } from './json.js'
import { renderTemplate } from './renderTemplate.js'
import { requireFile } from './requireFile.js'
import { withinTime } from './withinTime.js'

/** What is used of the package, whose own types do not resolve under Node's module rules. */
interface Pipeline {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] }
  decode(ids: number[], options: { skip_special_tokens: boolean }): string
  token_to_id(token: string): number | undefined
}
const Pipeline = HuggingFaceTokenizer as unknown as new (json: object, config: object) => Pipeline

/** One turn of a conversation. */
export interface Message {
  role: string
  content: string
}

/** A turn that has pictures among its text; the chat template puts the model's mark where each stands. */
export interface MixedMessage {
  role: string
  content: string | readonly ContentPart[]
}

/** A text, or the place of an image or a video. */
export interface ContentPart {
  type: string
  text?: string
}

export interface Tokenizer {
  /** @returns token ids, with what the tokenizer adds by itself unless `specials` is false */
  encode(text: string, options?: { specials?: boolean }): number[]
  /** @returns text, without special tokens unless `specials` is true */
  decode(ids: readonly number[], options?: { specials?: boolean }): string
  /** A conversation as the model expects it.
   * @throws Error if the tokenizer has no chat template, or the template or the messages are not sound */
  chat(messages: readonly MixedMessage[], options?: { add_generation_prompt?: boolean }): string
  readonly bos_token: string | undefined
  readonly eos_token: string | undefined
  readonly eos_token_id: number | undefined
  readonly pad_token_id: number | undefined
  /** Tokens of the longest text that the model takes, where the tokenizer says so. */
  readonly model_max_length: number | undefined
}

/** Files that together are a tokenizer; `tokenizer.json` is required, but for CLIP's, which vocab.json and merges.txt say. */
export const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
  'vocab.json',
  'merges.txt',
] as const

/** Reads a Hugging Face tokenizer: tokenizer.json, tokenizer_config.json, and the chat template from either
 * chat_template.jinja, chat_template.json (of older processors of models that see) or the config. CLIP's may be vocab.json and merges.txt in
 * place of the first. */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const path = join(dir, 'tokenizer.json')
  const config = await tokenizerConfig(dir)
  const asClip = config['tokenizer_class'] === 'CLIPTokenizer' && !existsSync(path)
  const pipelineJson = asClip ? await clipTokenizerJson(dir, config) : await readJson(path)
  const pipeline = withinTime(BUILD_MS, path, () => build(pipelineJson, config, path))
  const timed = guard(pipelineJson, path)
  const source = await chatTemplate(dir, config)
  let template: Template | undefined

  const eos_token = tokenText(config['eos_token'])
  const pad_token = tokenText(config['pad_token']) ?? eos_token
  const bos_token = tokenText(config['bos_token'])
  const id = (token: string | undefined) => (token === undefined ? undefined : pipeline.token_to_id(token))
  return {
    bos_token,
    eos_token,
    eos_token_id: id(eos_token),
    pad_token_id: id(pad_token),
    model_max_length: typeof config['model_max_length'] === 'number' ? config['model_max_length'] : undefined,
    encode: (text, { specials = true } = {}) =>
      timed(text.length, () => pipeline.encode(text, { add_special_tokens: specials }).ids),
    decode: (ids, { specials = false } = {}) =>
      ids.length === 0 ? '' : timed(ids.length, () => pipeline.decode([...ids], { skip_special_tokens: !specials })),
    chat(messages, { add_generation_prompt = true } = {}) {
      if (source === undefined)
        throw new Error(
          `${dir}: found no chat template in chat_template.jinja or tokenizer_config.json, needed one for messages. ` +
            'Give the prompt as a string, or add the template of the model.',
        )
      if (!isMixed(messages))
        throw new Error(`chat: found ${excerpt(messages)}, needed messages: [{ role: 'user', content: 'text' }, …].`)
      template ??= readTemplate(source, dir)
      try {
        return renderTemplate(template, { messages, add_generation_prompt, bos_token, eos_token, pad_token })
      } catch (error) {
        throw new Error(`${dir}: the chat template refused the messages: ${(error as Error).message.slice(0, 500)}`, {
          cause: error,
        })
      }
    },
  }
}

/** Token ids of a text in a row of that length, as transformers gives them for padding "max_length" and truncation: what is longer is
 * cut before the token that ends it.
 * @throws Error if the tokenizer has no token to pad with */
export function paddedIds(tokenizer: Tokenizer, text: string, length: number): number[] {
  const pad = tokenizer.pad_token_id
  if (pad === undefined)
    throw new Error('paddedIds: the tokenizer has no pad_token, needed one. Add it to its tokenizer_config.json.')
  const ids = tokenizer.encode(text)
  if (ids.length > length) return [...ids.slice(0, length - 1), ids.at(-1)!]
  return [...ids, ...Array<number>(length - ids.length).fill(pad)]
}

/** The tokenizer.json that vocab.json and merges.txt of a CLIPTokenizer stand for.
 * @source transformers 5.23, models/clip/tokenization_clip.py */
async function clipTokenizerJson(dir: string, config: Record<string, unknown>): Promise<object> {
  const vocab = await readJson(join(dir, 'vocab.json'))
  const path = join(dir, 'merges.txt')
  requireFile(path, 100e6)
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new Error(`${path}: ${error.message}. Check the path.`)
  })
  const merges = text.split(/\r?\n/).filter(line => line !== '' && !line.startsWith('#version'))
  const special = (name: string, usual: string): [token: string, id: number] => {
    const token = tokenText(config[name]) ?? usual
    const id = vocab[token]
    if (typeof id !== 'number')
      throw new Error(`${dir}: vocab.json lacks ${token}, the ${name}. Fetch both files again.`)
    return [token, id]
  }
  const [bos, eos] = [special('bos_token', '<|startoftext|>'), special('eos_token', '<|endoftext|>')]
  const [unk] = special('unk_token', '<|endoftext|>')
  const words = /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+/u.source
  return {
    added_tokens: [bos, eos].map(([content, id]) => ({ content, id, special: true })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: words }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: { type: 'RobertaProcessing', sep: eos, cls: bos, trim_offsets: false, add_prefix_space: false },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges, unk_token: unk, continuing_subword_prefix: '', end_of_word_suffix: '</w>' },
  }
}

/** Whether a value is a list of messages: one at least, each with role and content. */
export const isConversation = (value: unknown): value is Message[] =>
  isMixed(value) && value.every(({ content }) => typeof content === 'string')

/** The same, of which some may have parts. */
export const isMixed = (value: unknown): value is MixedMessage[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((m: Partial<MixedMessage> | null) => typeof m?.role === 'string' && isContent(m.content))

const isContent = (value: unknown): boolean =>
  typeof value === 'string' ||
  (Array.isArray(value) && value.every((part: Partial<ContentPart> | null) => typeof part?.type === 'string'))

function readTemplate(source: string, dir: string): Template {
  try {
    // The marks of what the assistant says (transformers) change nothing in the text.
    return new Template(
      source.replace(/(\{%-?\s*)generation\b/g, '$1if true').replace(/(\{%-?\s*)endgeneration\b/g, '$1endif'),
    )
  } catch (error) {
    const found = error instanceof RangeError ? 'it nests too deeply' : (error as Error).message.slice(0, 200)
    throw new Error(
      `${dir}: the chat template is not one that can be used (${found}). ` +
        'Mend or replace chat_template.jinja, or chat_template in tokenizer_config.json.',
      { cause: error },
    )
  }
}

const BUILD_MS = 60_000
const MOST_TEMPLATE = 1e6 // bytes; long ones have some ten thousand

/** Runs the file on a text of some length: where it has regular expressions, within a second and as much as the slowest of sound tokenizers takes. Files
 * without any need no limit.
 * @throws Error naming the file, also where the package finds it to be unsound only now */
function guard(json: object, path: string): <T>(length: number, run: () => T) => T {
  const timed = hasPattern(json)
  return (length, run) => {
    const where = `${path}: a text of ${length} characters (a regular expression in the file?)`
    try {
      return timed ? withinTime(2000 + Math.ceil(length / 10), where, run) : run()
    } catch (error) {
      const { message } = error as Error
      if (message.startsWith(where)) throw error
      throw new Error(`${path}: ${length} characters or tokens cannot be changed into the other (${message.slice(0, 200)}). Save the tokenizer again.`, { cause: error }) // prettier-ignore
    }
  }
}

const hasPattern = (json: unknown): boolean =>
  typeof json === 'object' &&
  json !== null &&
  ('Regex' in json || Object.entries(json).some(([key, value]) => key !== 'model' && hasPattern(value)))

function build(json: object, config: object, path: string): Pipeline {
  try {
    return new Pipeline(json, { clean_up_tokenization_spaces: false, ...config }) // as transformers 5
  } catch (error) {
    throw new Error(
      `${path}: not a tokenizer that can be used (${(error as Error).message.slice(0, 200)}). Save it again.`,
      {
        cause: error,
      },
    )
  }
}

/** Whether conversations can be written as the model expects them. */
export const hasChatTemplate = async (dir: string): Promise<boolean> =>
  (await chatTemplate(dir, await tokenizerConfig(dir))) !== undefined

const tokenizerConfig = (dir: string) => readJson(join(dir, 'tokenizer_config.json'), { optional: true })

async function chatTemplate(dir: string, config: Record<string, unknown>): Promise<string | undefined> {
  requireFile(join(dir, 'chat_template.jinja'), MOST_TEMPLATE)
  const file = await readFile(join(dir, 'chat_template.jinja'), 'utf8').catch(() => undefined)
  if (file !== undefined) return file
  const stored = await readJson(join(dir, 'chat_template.json'), { optional: true })
  const field = stored['chat_template'] ?? config['chat_template']
  if (typeof field === 'string') return field
  if (!Array.isArray(field)) return undefined
  const named = field as ({ name?: unknown; template?: unknown } | null)[] // transformers: several templates, one the default
  const usual = named.find(entry => entry?.name === 'default')?.template
  return typeof usual === 'string' ? usual : undefined
}

/** A special token stands as a string or as an object with `content`. */
function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  const content = (value as { content?: unknown } | null | undefined)?.content
  return typeof content === 'string' ? content : undefined
}
