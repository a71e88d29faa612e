import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { arrowRows } from './arrowRows.js'
import { heldBytes } from './heldBytes.js'
import type { Row } from './jsonl.js'

/** Decodes the rows of a Parquet or Arrow file (as the library datasets stores them), some at a time.
 * That of Parquet trusts the lengths in the file: {@link columnarRows} runs it where that does no harm. */
export async function* decodeColumns(path: string): AsyncGenerator<Row[]> {
  if (path.endsWith('.parquet')) for await (const rows of parquet(path)) yield* parts(rows)
  else yield* parts(arrowRows(path))
}

const AT_ONCE = 4096 // rows
const MOST_AT_ONCE = 64e6 // bytes of a part, but for its last row
const MOST_ROW = 1e9

/** Rows some at a time. A few bytes may be a text that all rows share, which is copied for each where they leave the thread. */
function* parts(rows: Iterable<Row>): Generator<Row[]> {
  let [part, size]: [Row[], number] = [[], 0]
  for (const row of rows) {
    const bytes = heldBytes(row, true)
    if (bytes > MOST_ROW) throw new Error(`a row of ${bytes} bytes, needed ${MOST_ROW} at most. Store less in a row.`)
    part.push(plain(row) as Row)
    if ((size += bytes) < MOST_AT_ONCE && part.length < AT_ONCE) continue
    yield part
    ;[part, size] = [[], 0]
  }
  if (part.length > 0) yield part
}

async function* parquet(path: string): AsyncGenerator<Row[]> {
  const file = await asyncBufferFromFile(path)
  const metadata = await parquetMetadataAsync(file)
  let first = 0
  for (const { num_rows } of metadata.row_groups) {
    const end = first + Number(num_rows)
    if (!Number.isSafeInteger(end) || end < first) throw new Error(`a row group of ${num_rows} rows, needed 0 or more.`)
    for (let rowStart = first; rowStart < end; rowStart += AT_ONCE) {
      const rowEnd = Math.min(end, rowStart + AT_ONCE)
      const rows = await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd, utf8: false })
      if (rows.length < rowEnd - rowStart) throw new Error(`row ${rowStart + rows.length} is missing of ${end}.`)
      yield rows
    }
    first = end
  }
}

/** Integers of 64 bits come as BigInt, which neither JSON nor arithmetic with numbers takes; missing lists as undefined. Bytes are copied: they are
 * views of the whole file's. */
function plain(value: unknown): unknown {
  if (value === undefined) return null
  if (typeof value === 'bigint') return Number(value)
  if (value instanceof Uint8Array) return value.slice()
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, plain(child)]))
}
