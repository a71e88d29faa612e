import { readFileSync } from 'node:fs'
import { tableFromIPC } from '@uwdata/flechette'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import type { Row } from './jsonl.js'

/** Rows of a Parquet or Arrow file (as the library datasets stores them), some at a time.
 * It trusts the lengths in the file: {@link columnarRows} runs it where that does no harm. */
export async function* decodeColumns(path: string): AsyncGenerator<Row[]> {
  if (path.endsWith('.parquet')) yield* parquet(path)
  else {
    const bytes = readFileSync(path)
    const table = tableFromIPC(bytes)
    if (table.numRows > 8 * bytes.length) throw new Error(`${table.numRows} rows in ${bytes.length} bytes, needed a bit for each.`) // prettier-ignore
    for (let row = 0; row < table.numRows; row += AT_ONCE)
      yield Array.from({ length: Math.min(AT_ONCE, table.numRows - row) }, (_, i) => plain(table.get(row + i)) as Row)
  }
}

const AT_ONCE = 4096 // rows

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
      yield rows.map(row => plain(row) as Row)
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
