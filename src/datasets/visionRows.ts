import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { requireOneOf } from '../config.js'
import { shown } from '../io/excerpt.js'
import { readImage, type RgbImage } from '../io/images.js'
import { isMixed, type ContentPart, type MixedMessage } from '../io/tokenizer.js'
import type { VideoSampling } from '../io/sampleVideo.js'
import { readVideo, type DecodedVideo } from '../io/video.js'
import type { Row } from './jsonl.js'
import { heldRows } from './readRows.js'

/** A prompt whose pictures and videos are decoded when a policy takes it. */
export interface StoredPrompt {
  prompt: string | MixedMessage[]
  /** File and row. */
  where: string
  /** @throws Error naming file, row and picture that cannot be decoded */
  open(): Promise<{ images: RgbImage[]; videos: DecodedVideo[] }>
}

/** A row for a policy that sees. Other columns stay, without those that hold pictures. */
export interface VisionRow extends Row {
  prompt: StoredPrompt
  /** What the assistant says to it, where the file has that. */
  completion?: string
  /** The same, as rewards read it, where the file has no column of this name. */
  answer?: unknown
}

/** A row that was left out, and why. */
export interface SkippedRow {
  row: number
  reason: string
}

export interface VisionRowsOptions extends VideoSampling {
  /** Folder that paths start from. Default: that of the file. */
  root?: string
  /** Frames a second of folders and lists of frames. Default 24. */
  raw_fps?: number
  /** A row with fewer or more marks than files, a file that is not there and so on: an error, or left out. Default error. */
  bad_rows?: 'error' | 'skip'
}

/** Reads rows with pictures and videos, of a file that {@link readRows} takes, in either format:
 * - `{ id, conversations: [{ from: 'human' | 'gpt', value }, …], video | image: path(s), meta? }`: `<video>` and `<image>` in what a human says mark
 *   the places; `meta` has `frame_cnts`, `min_frames`, `max_frames`, `dynamic_sample` ({@link sampleVideo}) for the row's videos;
 * - TRL's `messages`, or `prompt` and perhaps `completion`, with `images` and `videos`: parts `{ type: 'image' }` mark the places, or none does.
 *
 * A picture is a path, bytes, or `{ path, bytes }`; a video likewise, a folder of frames, or a list of frames' paths. Each turn of the assistant
 * becomes a row whose prompt is what was said before. Videos are sampled at 2 frames a second, if options and `meta` say nothing else
 * (qwen-vl-utils).
 * @returns rows, and with `bad_rows: 'skip'` those left out
 * @throws Error naming the file and the row */
export async function visionRows(
  path: string,
  options: VisionRowsOptions = {},
): Promise<VisionRow[] & { skipped: SkippedRow[] }> {
  // prettier-ignore
  const { root = dirname(path), bad_rows = 'error', ...sampling } = options
  requireOneOf('visionRows', 'bad_rows', bad_rows, ['error', 'skip'])
  const [rows, skipped]: [VisionRow[], SkippedRow[]] = [[], []]
  let index = 0
  for await (const row of heldRows(path)) {
    try {
      rows.push(...rowsOf(row, `${path}, row ${index}`, root, sampling))
    } catch (error) {
      if (bad_rows === 'error') throw new Error(`visionRows: ${(error as Error).message}`, { cause: error })
      skipped.push({ row: index, reason: (error as Error).message })
    }
    index++
  }
  if (rows.length === 0)
    throw new Error(`visionRows: ${path} holds no row that can be used${skipped[0] ? ` (${skipped[0].reason})` : ''}. Check the file.`) // prettier-ignore
  return Object.assign(rows, { skipped })
}

type Sampling = VideoSampling & { raw_fps?: number }
const PICTURES = ['image', 'images', 'video', 'videos']
const SPOKEN = ['conversations', 'messages', 'prompt', 'completion']

function rowsOf(row: Row, where: string, root: string, usual: Sampling): VisionRow[] {
  const sampling = { ...usual, ...metaOf(row['meta'], where) }
  const images = listed(row['images'] ?? row['image']).map((value, i) => stored(value, root, `${where}: image ${i}`))
  const videos = listed(row['videos'] ?? row['video']).map((value, i) =>
    Array.isArray(value)
      ? value.map((frame, f) => stored(frame, root, `${where}: video ${i}, frame ${f}`) as string)
      : stored(value, root, `${where}: video ${i}`),
  )
  const rest = Object.fromEntries(Object.entries(row).filter(([key]) => !PICTURES.includes(key) && !SPOKEN.includes(key))) // prettier-ignore
  const fps = sampling.fps ?? (sampling.num_frames === undefined && sampling.dynamic_sample !== false ? 2 : undefined)

  const made = (prompt: string | MixedMessage[], completion?: string): VisionRow => {
    const [seenImages, seenVideos] = [
      images.slice(0, marked(prompt) ? marksOf(prompt, 'image') : undefined),
      videos.slice(0, marked(prompt) ? marksOf(prompt, 'video') : undefined),
    ]
    const open = async () => ({
      images: await decoded(`${where}: image`, seenImages, input => readImage(input)),
      videos: await decoded(`${where}: video`, seenVideos, input => readVideo(input, { ...sampling, fps })),
    })
    const said = completion === undefined ? {} : { completion, answer: completion }
    return { ...said, ...rest, prompt: { prompt, where, open } }
  }

  const messages = spoken(row, where)
  if (typeof messages === 'string' || marked(messages) || row['conversations'] !== undefined)
    for (const [what, files] of [
      ['image', images],
      ['video', videos],
    ] as const) {
      // prettier-ignore
      const marks = typeof messages === 'string' ? files.length : marksOf(messages, what) // a text has the model's own marks
      if (marks !== files.length)
        throw new Error(`${where}: ${marks} marks <${what}> for ${files.length} ${what} files. Needed one for each: put <${what}> where each is to be seen.`) // prettier-ignore
    }
  if (typeof messages === 'string') return [made(messages, typeof row['completion'] === 'string' ? row['completion'] : undefined)] // prettier-ignore
  const turns = messages.flatMap(({ role }, at) => (at > 0 && role === 'assistant' ? [at] : []))
  if (turns.length === 0) return [made(messages)]
  return turns.map(at => made(messages.slice(0, at), textOf(messages[at]!)))
}

/** One after another: decoding has threads of its own. */
async function decoded<I, T>(where: string, inputs: readonly I[], read: (input: I) => Promise<T>): Promise<T[]> {
  const found: T[] = []
  for (const [i, input] of inputs.entries())
    found.push(
      await read(input).catch((error: Error) => {
        throw new Error(`${where} ${i}: ${error.message}`, { cause: error })
      }),
    )
  return found
}

/** The turns of a row, of both formats; or a text. */
function spoken(row: Row, where: string): string | MixedMessage[] {
  const { conversations, messages, prompt, completion } = row
  if (conversations !== undefined) {
    if (!Array.isArray(conversations) || conversations.length === 0)
      throw new Error(`${where}: conversations is ${shown(conversations)}, needed [{ from, value }, …].`)
    return conversations.map((turn: { from?: unknown; value?: unknown } | null, i): MixedMessage => {
      const role = ROLES[String(turn?.from)]
      if (role === undefined || typeof turn?.value !== 'string')
        throw new Error(`${where}: turn ${i} is ${shown(turn)}, needed { from: 'human' or 'gpt', value: a text }.`)
      return { role, content: role === 'user' ? partsOf(turn.value) : turn.value }
    })
  }
  const given = messages ?? prompt
  if (typeof given === 'string') return given
  if (!isMixed(given))
    throw new Error(`${where}: found ${Object.keys(row).join(', ').slice(0, 200) || 'no column'}, needed conversations, messages or prompt.`) // prettier-ignore
  const reply = typeof completion === 'string' ? [{ role: 'assistant', content: completion }] : (completion ?? [])
  return [...given, ...(isMixed(reply) ? reply : [])]
}

const ROLES: Readonly<Record<string, string>> = { human: 'user', user: 'user', gpt: 'assistant', assistant: 'assistant', system: 'system' } // prettier-ignore

/** A text with marks as parts; one without stays a text. */
function partsOf(value: string): string | ContentPart[] {
  const parts = value.split(/(<image>|<video>)/).filter(part => part !== '')
  if (parts.every(part => part !== '<image>' && part !== '<video>')) return value
  return parts.map(part => (/^<(image|video)>$/.test(part) ? { type: part.slice(1, -1) } : { type: 'text', text: part })) // prettier-ignore
}

const contentParts = (prompt: string | MixedMessage[]): ContentPart[] =>
  typeof prompt === 'string' ? [] : prompt.flatMap(({ content }) => (typeof content === 'string' ? [] : content))
const marksOf = (prompt: string | MixedMessage[], type: string) =>
  contentParts(prompt).filter(part => part.type === type).length
/** Whether a prompt says where its pictures stand; if not, all of them come before its first text. */
const marked = (prompt: string | MixedMessage[]): boolean => contentParts(prompt).length > 0

const textOf = ({ content }: MixedMessage): string =>
  typeof content === 'string' ? content : content.map(({ text = '' }) => text).join('')

const listed = (value: unknown): unknown[] =>
  Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]

/** A path that is there, or bytes. */
function stored(value: unknown, root: string, where: string): string | Uint8Array {
  if (value instanceof Uint8Array) return value
  const { bytes, path = value } = (typeof value === 'object' && value !== null ? value : {}) as { bytes?: unknown; path?: unknown } // prettier-ignore
  if (bytes instanceof Uint8Array) return bytes
  if (typeof path !== 'string' || path === '') throw new Error(`${where} is ${shown(value)}, needed a path or bytes.`)
  const file = resolve(root, path)
  if (!existsSync(file)) throw new Error(`${where}: there is no file ${file}. Check the path, or set root.`)
  return file
}

/** What a row says of its videos' frames. */
function metaOf(meta: unknown, where: string): VideoSampling {
  if (meta === undefined || meta === null) return {}
  const fields = meta as Record<string, unknown>
  const field = <T>(name: string, fits: (value: unknown) => boolean, needed: string): T | undefined => {
    const value = fields[name] ?? undefined
    if (value === undefined || fits(value)) return value as T | undefined
    throw new Error(`${where}: meta.${name} is ${shown(value)}, needed ${needed}.`)
  }
  const whole = (value: unknown) => Number.isInteger(value) && (value as number) > 0
  const found: VideoSampling = {
    frame_cnts: field('frame_cnts', value => Array.isArray(value) && value.length > 0 && value.every(whole), 'whole numbers above 0'), // prettier-ignore
    min_frames: field('min_frames', whole, 'a whole number above 0'),
    max_frames: field('max_frames', whole, 'a whole number above 0'),
    dynamic_sample: field('dynamic_sample', value => typeof value === 'boolean', 'true or false'),
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}
