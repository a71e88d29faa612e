import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** A row of a data set; columns carry TRL's names (prompt, completion, chosen, rejected, messages, images, videos). */
export type Row = Record<string, unknown>

/** Reads JSON lines, gzip-compressed or not: one object a line, blank lines left out.
 * @throws naming the file and the line that is not a JSON object */
export function readJsonl(path: string): Row[] {
  return [...jsonLines(path)].map(({ row }) => row)
}

/** The rows of a JSON lines file with their line numbers (from 1), for errors that point at the line. */
export function* jsonLines(path: string): Generator<{ row: Row; line: number }> {
  const lines = readText(path).split(/\r?\n/)
  for (const [i, text] of lines.entries()) {
    if (text.trim() !== '') yield { row: parseRow(text, `${path}, line ${i + 1}`), line: i + 1 }
  }
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
    value = JSON.parse(text)
  } catch (error) {
    throw new Error(`${where}: not JSON (${(error as Error).message}). Needed one JSON object a line.`, {
      cause: error,
    })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row
  const got = Array.isArray(value) ? 'an array' : value === null ? 'null' : `a ${typeof value}`
  throw new Error(`${where}: got ${got}, needed a JSON object a line. Put each row in braces on its own line.`)
}

function readText(path: string): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = gunzipSync(bytes)
  } catch (error) {
    throw new Error(`${path}: cannot be read (${(error as Error).message}). Needed a JSON lines file, plain or gzip.`, {
      cause: error,
    })
  }
  return bytes.toString('utf8').replace(/^\uFEFF/, '')
}
