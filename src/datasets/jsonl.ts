import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { parseJson } from '../io/json.js'
import { requireFile } from '../io/requireFile.js'
import { parsedBytes, requireRoom } from '../io/requireRoom.js'

/** A row of a data set; columns carry TRL's names (prompt, completion, chosen, rejected, messages, images, videos). */
export type Row = Record<string, unknown>

/** Reads JSON lines, gzip-compressed or not: one object a line, blank lines left out.
 * @throws naming the file and the line that is not a JSON object */
export function readJsonl(path: string): Row[] {
  return [...jsonLines(path)].map(({ row }) => row)
}

/** The rows of a JSON lines file with their line numbers (from 1), for errors that point at the line. */
export function* jsonLines(path: string): Generator<{ row: Row; line: number }> {
  for (const [line, text] of textLines(readUnpacked(path)))
    if (text.trim() !== '') yield { row: parseRow(text, `${path}, line ${line}`), line }
}

/** Writes rows as JSON lines, beside the file first and then renamed, so that no reader sees half of it. */
export function writeJsonl(path: string, rows: readonly object[]): void {
  mkdirSync(dirname(path), { recursive: true })
  const partial = `${path}.${process.pid}.tmp`
  writeFileSync(partial, rows.map(row => `${JSON.stringify(row)}\n`).join(''))
  renameSync(partial, path)
}

/** One line of JSON as a row.
 * @throws naming `where` if it is not JSON, or not an object */
export function parseRow(text: string, where: string): Row {
  let value: unknown
  try {
    value = parseJson(text)
  } catch (error) {
    throw new Error(`${where}: ${(error as Error).message} Needed one JSON object a line.`, { cause: error })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row
  const got = Array.isArray(value) ? 'an array' : value === null ? 'null' : `a ${typeof value}`
  throw new Error(`${where}: got ${got}, needed a JSON object a line. Put each row in braces on its own line.`)
}

/** What unpacks to more is refused: a megabyte may unpack to a gigabyte. */
const MOST_UNPACKED = 2 ** 30

/** The content of a text file of rows, gzip-compressed or not, that is read whole.
 * @throws naming the file if it cannot be read, or what it holds would not fit into memory */
export function readUnpacked(path: string, needed = 'a JSON lines file, plain or gzip'): Buffer {
  let bytes: Buffer
  requireFile(path)
  try {
    bytes = readFileSync(path)
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = gunzipSync(bytes, { maxOutputLength: MOST_UNPACKED })
  } catch (error) {
    throw new Error(`${path}: cannot be read (${(error as Error).message}). Needed ${needed}.`, { cause: error })
  }
  requireRoom(parsedBytes(bytes), path, 'Split it, or read JSON lines or Parquet a row at a time by streamRows.')
  return bytes
}

/** The lines of a text, without the marks of their ends and of byte order. */
export function* textLines(bytes: Buffer): Generator<[number: number, text: string]> {
  let number = 0
  for (let from = 0; from < bytes.length;) {
    const end = bytes.indexOf(0x0a, from)
    yield [++number, textOf(bytes.subarray(from, end < 0 ? undefined : end))]
    from = end < 0 ? bytes.length : end + 1
  }
}

/** A line's bytes as text. */
export const textOf = (line: Buffer): string =>
  line
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .trimEnd()
