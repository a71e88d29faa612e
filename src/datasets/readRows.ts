import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { createInterface } from 'node:readline'
import { createGunzip, gunzipSync } from 'node:zlib'
import { tableFromIPC } from '@uwdata/flechette'
import { fromCSV } from 'arquero'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { parseRow, type Row } from './jsonl.js'

/** Reads the rows of a file, of the kind that its name ends in: `.jsonl` or `.ndjson` (JSON lines), `.json` (an array of objects, or JSON
 * lines), `.csv` and `.tsv` (a header line; values are texts), `.parquet`, `.arrow` (as the library datasets stores them). All but the last two may
 * be gzip-compressed, with `.gz` behind the name.
 * @throws naming the file, and the line or row that is none */
export async function readRows(path: string): Promise<Row[]> {
  const rows: Row[] = []
  for await (const row of streamRows(path)) rows.push(row)
  if (rows.length === 0) throw new Error(`readRows: ${path} holds no row. Check the file.`)
  return rows
}

/** The same a row at a time: of JSON lines and Parquet never more is held than some rows, so that the file may be larger than memory. */
export async function* streamRows(path: string): AsyncGenerator<Row> {
  const kind = extname(path.replace(/\.gz$/, '')).toLowerCase()
  try {
    if (kind === '.jsonl' || kind === '.ndjson') yield* lines(path)
    else if (kind === '.parquet') yield* parquet(path)
    else if (kind === '.json') yield* json(await text(path), path)
    else if (kind === '.csv' || kind === '.tsv') yield* table(await text(path), kind === '.csv' ? ',' : '\t')
    else if (kind === '.arrow') yield* tableFromIPC(await readFile(path)).toArray() as Row[]
    else throw new Error(`needed one of ${KINDS.join(', ')}.`)
  } catch (error) {
    throw new Error(`readRows: ${path}: ${(error as Error).message.replace(`${path}, `, '')}`, { cause: error })
  }
}

const KINDS = ['.jsonl', '.ndjson', '.json', '.csv', '.tsv', '.parquet', '.arrow']

async function* lines(path: string): AsyncGenerator<Row> {
  const file = createReadStream(path)
  const source = path.endsWith('.gz') ? file.on('error', e => source.destroy(e)).pipe(createGunzip()) : file
  let line = 0
  for await (const text of createInterface({ input: source, crlfDelay: Infinity }))
    if (++line && text.trim() !== '') yield parseRow(text.replace(/^\uFEFF/, ''), `line ${line}`)
}

/** A row group at a time. */
async function* parquet(path: string): AsyncGenerator<Row> {
  const file = await asyncBufferFromFile(path)
  const metadata = await parquetMetadataAsync(file)
  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    for (const row of await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd, utf8: false }))
      yield plain(row) as Row
    rowStart = rowEnd
  }
}

/** Integers of 64 bits come as BigInt, which neither JSON nor arithmetic with numbers takes; missing lists as undefined. */
function plain(value: unknown): unknown {
  if (value === undefined) return null
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, plain(child)]))
}

function* json(content: string, path: string): Generator<Row> {
  if (!content.trimStart().startsWith('[')) {
    for (const [i, text] of content.split(/\r?\n/).entries())
      if (text.trim() !== '') yield parseRow(text, `${path}, line ${i + 1}`)
    return
  }
  for (const [i, row] of (JSON.parse(content) as unknown[]).entries()) {
    if (typeof row !== 'object' || row === null || Array.isArray(row))
      throw new Error(`row ${i} is ${JSON.stringify(row)?.slice(0, 40)}, needed an object.`)
    yield row as Row
  }
}

/** An empty field is an empty text. */
function* table(content: string, delimiter: string): Generator<Row> {
  const parse = { delimiter, autoType: false }
  for (const row of fromCSV(content, parse).objects() as Row[])
    yield Object.fromEntries(Object.entries(row).map(([column, value]) => [column, value ?? '']))
}

async function text(path: string): Promise<string> {
  const bytes = await readFile(path)
  return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').replace(/^\uFEFF/, '')
}
