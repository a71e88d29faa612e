import { createReadStream } from 'node:fs'
import { extname } from 'node:path'
import { createGunzip } from 'node:zlib'
import { fromCSV } from 'arquero'
import { excerpt } from '../io/excerpt.js'
import { parseJson } from '../io/json.js'
import { requireFile } from '../io/requireFile.js'
import { requireRoom } from '../io/requireRoom.js'
import { columnarRows } from './columnarRows.js'
import { heldBytes } from './heldBytes.js'
import { parseRow, readUnpacked, textLines, textOf, type Row } from './jsonl.js'

/** Reads the rows of a file, of the kind that its name ends in: `.jsonl` or `.ndjson` (JSON lines), `.json` (an array of objects, or JSON
 * lines), `.csv` and `.tsv` (a header line; values are texts), `.parquet`, `.arrow` (as the library datasets stores them). All but the last two may
 * be gzip-compressed, with `.gz` behind the name.
 * @throws naming the file, and the line or row that is none */
export async function readRows(path: string): Promise<Row[]> {
  const rows: Row[] = []
  for await (const row of heldRows(path)) rows.push(row)
  if (rows.length === 0) throw new Error(`readRows: ${path} holds no row. Check the file.`)
  return rows
}

/** The same a row at a time: of JSON lines and Parquet never more is held than some rows, so that the file may be larger than memory. */
export async function* streamRows(path: string): AsyncGenerator<Row> {
  const kind = extname(path.replace(/\.gz$/, '')).toLowerCase()
  try {
    if (kind === '.jsonl' || kind === '.ndjson') yield* lines(path)
    else if (kind === '.parquet' || kind === '.arrow') yield* columnarRows(path)
    else if (kind === '.json') yield* json(readUnpacked(path, 'JSON'))
    else if (kind === '.csv' || kind === '.tsv') yield* table(readUnpacked(path, kind), kind === '.csv' ? ',' : '\t')
    else throw new Error(`needed one of ${KINDS.join(', ')}.`)
  } catch (error) {
    throw new Error(`readRows: ${path}: ${(error as Error).message.replace(`${path}: `, '').slice(0, 500)}`, { cause: error }) // prettier-ignore
  }
}

/** {@link streamRows} for whoever keeps all rows.
 * @throws naming the file whose rows do not fit into memory */
export async function* heldRows(path: string): AsyncGenerator<Row> {
  let held = 0
  for await (const row of streamRows(path)) {
    held += heldBytes(row)
    requireRoom(held, `readRows: ${path}`, 'Read a part of it, or one row at a time by streamRows.')
    yield row
  }
}

const KINDS = ['.jsonl', '.ndjson', '.json', '.csv', '.tsv', '.parquet', '.arrow']

const MOST_LINE = 100e6 // bytes

/** Of a line that does not end no more than that is held. */
async function* lines(path: string): AsyncGenerator<Row> {
  requireFile(path)
  const file = createReadStream(path)
  const source = path.endsWith('.gz') ? file.on('error', e => source.destroy(e)).pipe(createGunzip()) : file
  let [line, begun, size]: [number, Buffer[], number] = [1, [], 0]
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      let from = 0
      for (let end; (end = chunk.indexOf(0x0a, from)) >= 0; from = end + 1) {
        yield* rowOf(Buffer.concat([...begun, chunk.subarray(from, end)]), line++)
        ;[begun, size] = [[], 0]
      }
      begun.push(chunk.subarray(from))
      if ((size += chunk.length - from) > MOST_LINE)
        throw new Error(`line ${line}: more than ${MOST_LINE} bytes, needed a JSON object a line. Check that it is JSON lines.`) // prettier-ignore
    }
  } finally {
    file.destroy()
  }
  yield* rowOf(Buffer.concat(begun), line)
}

function* rowOf(bytes: Buffer, line: number): Generator<Row> {
  const text = textOf(bytes)
  if (text.trim() !== '') yield parseRow(text, `line ${line}`)
}

/** An array of objects, or JSON lines. */
function* json(content: Buffer): Generator<Row> {
  if (!/^\s*\[/.test(textOf(content.subarray(0, 64)))) {
    for (const [line, text] of textLines(content)) if (text.trim() !== '') yield parseRow(text, `line ${line}`)
    return
  }
  for (const [i, row] of (parseJson(content) as unknown[]).entries()) {
    if (typeof row !== 'object' || row === null || Array.isArray(row))
      throw new Error(`row ${i} is ${excerpt(row, 40)}, needed an object.`)
    yield row as Row
  }
}

/** An empty field is an empty text. */
function* table(content: Buffer, delimiter: string): Generator<Row> {
  const read = fromCSV(content.toString('utf8').replace(/^\uFEFF/, ''), { delimiter, autoType: false })
  if (read.columnNames().includes('__proto__')) throw new Error('a column is called __proto__. Give it another name.')
  for (const row of read.objects() as Row[])
    yield Object.fromEntries(Object.entries(row).map(([column, value]) => [column, value ?? '']))
}
