import { dirname, resolve } from 'node:path'
import { excerpt, fieldNames } from '../io/excerpt.js'
import { readImage, type RgbImage } from '../io/images.js'
import { resize } from '../io/resize.js'
import { jsonLines, type Row } from './jsonl.js'

/** Rows of a file whose pictures are decoded when they are asked for. */
export interface ImageRows<R> {
  readonly length: number
  /** Decodes the rows of these numbers, or all.
   * @throws naming file, line and column of a picture that cannot be read, or a row that is not there */
  read(rows?: readonly number[]): Promise<R[]>
}

export interface ImageRowsOptions {
  /** Width and height that every picture is resized to, bicubic as Pillow does. Default: as stored. */
  size?: readonly [width: number, height: number]
  /** Refuses larger pictures before they are decoded. Default 100 million. */
  maxPixels?: number
}

/** A column of the rows. */
export interface ImageColumn {
  kind: 'text' | 'picture' | 'mask'
  /** Field names in the file, the first that is there; paths are relative to the file. */
  fields: readonly string[]
  optional?: true
}

/** What a column holds once it is read. */
type ValueOf<C extends ImageColumn> =
  { text: string; picture: RgbImage; mask: Uint8Array }[C['kind']] | (C extends { optional: true } ? undefined : never)
type Values<C extends Readonly<Record<string, ImageColumn>>> = { [K in keyof C]: ValueOf<C[K]> }

/** Reads JSON lines that point at pictures. All lines are checked at once, for their fields.
 * @param rowOf makes a row of what a line holds; optional columns that a line lacks are not there
 * @throws naming the file, the line and the field that is missing or no text; or that there is no row */
export function imageRows<const C extends Readonly<Record<string, ImageColumn>>, R>(
  name: string,
  path: string,
  columns: C,
  rowOf: (values: Values<C>) => R,
  options: ImageRowsOptions,
): ImageRows<R> {
  const lines = [...jsonLines(path)].map(({ row, line }) => {
    const where = `${name}: ${path}, line ${line}`
    return { where, texts: Object.entries(columns).map(([column, how]) => [column, textOf(row, how, where)] as const) }
  })
  if (lines.length === 0)
    throw new Error(`${name}: ${path} is empty, needed lines with ${Object.keys(columns).join(', ')}. Check the file.`)

  const readRow = async (row: number): Promise<R> => {
    const found = lines[row]
    if (!found) throw new Error(`${name}: ${path} has no row ${row}, needed one of 0 … ${lines.length - 1}.`)
    const { where, texts } = found
    const values: Record<string, unknown> = {}
    for (const [column, text] of texts) {
      if (text === undefined) continue
      const { kind } = columns[column]!
      if (kind === 'text') values[column] = text
      else {
        const picture = await readPicture(resolve(dirname(path), text), options).catch((error: Error) => {
          throw new Error(`${where}, ${column}: ${error.message.slice(0, 500)}`, { cause: error })
        })
        values[column] = kind === 'mask' ? maskOf(picture) : picture
      }
    }
    return rowOf(values as Values<C>)
  }
  return {
    length: lines.length,
    async read(rows = lines.map((_, row) => row)) {
      const read: R[] = []
      for (const row of rows) read.push(await readRow(row)) // picture after picture: decoding has threads of its own
      return read
    },
  }
}

function textOf(row: Row, { fields, optional }: ImageColumn, where: string): string | undefined {
  const field = fields.find(name => row[name] !== undefined && row[name] !== null)
  if (field === undefined && optional) return undefined
  const value = field && row[field]
  if (typeof value === 'string' && value !== '') return value
  const names = fields.map(name => `"${name}"`).join(' or ')
  const got = field ? `is ${excerpt(value)}` : `is missing (got ${fieldNames(row, 'no field')})`
  throw new Error(`${where}: field ${names} ${got}, needed a text.`)
}

async function readPicture(path: string, { size, maxPixels }: ImageRowsOptions): Promise<RgbImage> {
  const image = await readImage(path, { maxPixels })
  return size ? resize(image, size[0], size[1]) : image
}

/** 1 where a picture is brighter than half, one value a pixel. */
function maskOf({ width, height, data }: RgbImage): Uint8Array {
  return Uint8Array.from({ length: width * height }, (_, i) => (data[i * 3 + 1]! > 127 ? 1 : 0))
}
