import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { FlatTable } from './flatTable.js'
import type { Row } from './jsonl.js'

const MOST_MESSAGE = 1e9 // bytes
const MOST_FIELDS = 10_000
const DEEPEST = 100

/** Rows of an Arrow file, a record batch at a time: a stream of messages, as the library datasets stores it, or such a stream within `ARROW1`. As of Parquet, integers
 * of 64 bits come as BigInt, dates and timestamps as Date.
 *
 * What the file declares is held against its bytes before anything is made of it: no length reaches beyond them, offsets never fall, and there are no more values than
 * bits. Hence a decoder of our own: flechette 2.0 believes lengths, and misreads the columns behind one of type null.
 * @throws Error at what is cut off, unsound, compressed, or of a type that datasets does not store
 * @source arrow.apache.org/docs/format/Columnar.html; format/Schema.fbs and Message.fbs of Arrow */
export function* arrowRows(path: string): Generator<Row> {
  const file = openSync(path, 'r')
  try {
    const room = { bits: 8 * fstatSync(file).size, nested: 0 }
    const dictionaries: Dictionaries = new Map()
    let [fields, rows]: [Field[] | null, number] = [null, 0]
    for (const { kind, header, body } of messages(file)) {
      if (kind === SCHEMA) fields ??= readFields(header)
      else if (fields === null) throw new Error('values come before the schema. Write the file again.')
      else if (kind === DICTIONARY_BATCH) addDictionary(fields, header, body, dictionaries, room)
      else if (kind === RECORD_BATCH) {
        const batch = new Batch(header, body, dictionaries, room)
        const columns = fields.map(field => [field.name, readColumn(field, batch)] as const)
        for (const [name, { length }] of columns) need(length === batch.length, `${name} has ${length} values in a batch of ${batch.length} rows`) // prettier-ignore
        need((rows += batch.length) <= room.bits, `${rows} rows in ${room.bits} bits`)
        for (let row = 0; row < batch.length; row++)
          yield Object.fromEntries(columns.map(([name, { at }]) => [name, at(row)]))
      }
    }
    if (fields === null) throw new Error('no schema found, needed an Arrow stream. Check the file.')
  } catch (error) {
    if (!(error instanceof RangeError)) throw error // DataView and typed arrays refuse what lies beyond their bytes
    throw new Error(`a message points beyond its bytes (${error.message}). Write the file again.`, { cause: error })
  } finally {
    closeSync(file)
  }
}

function need(sound: boolean, found: string): void {
  if (!sound) throw new Error(`${found}, which cannot be. Write the file again.`)
}

const [SCHEMA, DICTIONARY_BATCH, RECORD_BATCH] = [1, 2, 3]

/** A message is a marker, the length of its header, the header, which is a FlatBuffer, and a body. */
function* messages(file: number): Generator<{ kind: number; header: FlatTable; body: Buffer }> {
  const { size } = fstatSync(file)
  const read = (at: number, length: number): Buffer => {
    need(length >= 0 && at + length <= size, `${length} bytes from byte ${at} on, of ${size} in the file`)
    if (length > MOST_MESSAGE) throw new Error(`a message of ${length} bytes, needed ${MOST_MESSAGE} at most. Write the rows anew, in smaller batches.`) // prettier-ignore
    const bytes = Buffer.alloc(length)
    for (let done = 0; done < length;) {
      const more = readSync(file, bytes, done, length - done, at + done)
      need(more > 0, `${done} of ${length} bytes from byte ${at} on`)
      done += more
    }
    return bytes
  }
  const magic = read(0, Math.min(6, size)).toString('latin1') === 'ARROW1'
  for (let at = magic ? 8 : 0; at < size;) {
    const start = read(at, 8)
    if (start.readInt32LE(0) !== -1) throw new Error(`no message of an Arrow stream (0.15 or later) begins at byte ${at}. Check the file.`) // prettier-ignore
    const length = start.readInt32LE(4)
    if (length === 0) return
    const view = new DataView(read(at + 8, length).buffer)
    const message = new FlatTable(view, view.getUint32(0, true))
    const body = read(at + 8 + length, message.long(3))
    yield { kind: message.byte(1), header: message.table(2), body }
    at += 8 + length + body.length
  }
}

/** Types in the order of Schema.fbs. */
const TYPES = ['', 'Null', 'Int', 'FloatingPoint', 'Binary', 'Utf8', 'Bool', 'Decimal', 'Date', 'Time', 'Timestamp', 'Interval', 'List', 'Struct', 'Union', 'FixedSizeBinary', 'FixedSizeList', 'Map', 'Duration', 'LargeBinary', 'LargeUtf8', 'LargeList', 'RunEndEncoded', 'BinaryView', 'Utf8View', 'ListView', 'LargeListView'] // prettier-ignore

interface Field {
  name: string
  type: string
  /** What the type has besides, as Schema.fbs numbers it. */
  options: FlatTable
  children: Field[]
  /** Of values that stand in a dictionary: which, and the type Int of their indices. */
  dictionary: { id: number; index: FlatTable | null } | null
}

function readFields(schema: FlatTable): Field[] {
  if (schema.short(0) !== 0) throw new Error('big-endian values. Write the file on a little-endian machine.')
  let count = 0
  const read = (table: FlatTable, depth: number): Field => {
    if (++count > MOST_FIELDS) throw new Error(`more than ${MOST_FIELDS} fields. Write fewer columns.`)
    if (depth > DEEPEST) throw new Error(`fields nested deeper than ${DEEPEST}. Write flatter columns.`)
    const encoding = table.place(4) ? table.table(4) : null
    return {
      name: table.text(0),
      type: TYPES[table.byte(2)] ?? '',
      options: table.table(3),
      children: table.tables(5).map(child => read(child, depth + 1)),
      dictionary: encoding && { id: encoding.long(0), index: encoding.place(1) ? encoding.table(1) : null },
    }
  }
  return schema.tables(1).map(table => read(table, 0))
}

type At = (row: number) => unknown

interface Column {
  length: number
  at: At
}

type Dictionaries = Map<number, unknown[]>

/** How many values a file may have: a column no more than the file has bits. */
interface Room {
  bits: number
  /** Values in lists and dictionaries so far. */
  nested: number
}

/** Lengths and bytes of the columns of a batch, in the order of its fields. */
class Batch {
  readonly length: number
  readonly #nodes: Iterator<number[]>
  readonly #buffers: Iterator<number[]>
  readonly #counts: Iterator<number[]>

  constructor(
    header: FlatTable,
    readonly body: Buffer,
    readonly dictionaries: Dictionaries,
    readonly room: Room,
  ) {
    if (header.place(3)) throw new Error('compressed values, needed plain ones. Write the file without compression.')
    this.length = header.long(0)
    this.#nodes = header.longs(1, 2).values()
    this.#buffers = header.longs(2, 2).values()
    this.#counts = header.longs(4, 1).values()
  }

  node(name: string): [length: number, nulls: number] {
    const [length = -1, nulls = 0] = next(this.#nodes)
    need(length >= 0 && length <= this.room.bits, `${name} has ${length} values in ${this.room.bits} bits`)
    return [length, nulls]
  }
  buffer(name: string): Buffer {
    const [at = -1, length = 0] = next(this.#buffers)
    need(at >= 0 && length >= 0 && at + length <= this.body.length, `${name} has ${length} bytes from ${at} on, of ${this.body.length}`) // prettier-ignore
    return this.body.subarray(at, at + length)
  }
  /** Buffers of which the batch says how many there are. */
  buffers(name: string): Buffer[] {
    const [count = 0] = next(this.#counts)
    const buffers: Buffer[] = []
    while (buffers.length < count) buffers.push(this.buffer(name))
    return buffers
  }
  /** The values of lists, or of a dictionary. All together may be 4 for each bit, as a list's within lists count more than once. */
  nested(field: Field): Column {
    const column = readColumn(field, this)
    this.room.nested += column.length
    need(this.room.nested <= 4 * this.room.bits, `${field.name} makes it ${this.room.nested} values in ${this.room.bits} bits`) // prettier-ignore
    return column
  }
}

const next = (entries: Iterator<number[]>): number[] => (entries.next().value as number[] | undefined) ?? []

function addDictionary(fields: Field[], header: FlatTable, body: Buffer, dictionaries: Dictionaries, room: Room): void {
  const id = header.long(0)
  const find = (among: Field[]): Field | undefined => {
    for (const field of among) {
      const found = field.dictionary?.id === id ? field : find(field.children)
      if (found) return found
    }
    return undefined
  }
  const field = find(fields)
  if (!field) return // of no column
  const batch = new Batch(header.table(1), body, dictionaries, room)
  const { length, at } = batch.nested({ ...field, dictionary: null })
  const more = Array.from({ length }, (_, row) => at(row))
  const isDelta = header.byte(2) !== 0
  dictionaries.set(id, isDelta ? [...(dictionaries.get(id) ?? []), ...more] : more)
}

function readColumn(field: Field, batch: Batch): Column {
  const { name, type, dictionary } = field
  const [length, nulls] = batch.node(name)
  if (type === 'Null') return { length, at: () => null }
  const validity = batch.buffer(name)
  need(nulls === 0 || 8 * validity.length >= length, `${name} has nulls among ${length} values, told in ${validity.length} bytes`) // prettier-ignore
  const value = dictionary ? looked(name, dictionary, length, batch) : values(field, length, batch)
  return { length, at: nulls === 0 ? value : row => (bit(validity, row) ? value(row) : null) }
}

const bit = (bytes: Uint8Array, i: number): boolean => ((bytes[i >> 3]! >> (i & 7)) & 1) === 1

function looked(name: string, { id, index }: NonNullable<Field['dictionary']>, length: number, batch: Batch): At {
  const indices = integers(name, index?.int(0) ?? 32, index ? index.byte(1) !== 0 : true, length, batch)
  const entries = batch.dictionaries.get(id) ?? []
  return row => {
    const i = Number(indices[row])
    need(i >= 0 && i < entries.length, `${name} is entry ${i} of ${entries.length}`)
    return entries[i]
  }
}

/** The values of a column but for its nulls. */
function values(field: Field, length: number, batch: Batch): At {
  const { name, type, options, children } = field
  const child = (): Field => {
    need(children.length === 1, `${name} is a ${type} of ${children.length} fields`)
    return children[0]!
  }
  const long = (bits = 64) => integers(name, bits, true, length, batch)
  switch (type) {
    case 'Int': {
      const numbers = integers(name, options.int(0), options.byte(1) !== 0, length, batch)
      return row => numbers[row]
    }
    case 'FloatingPoint': {
      const half = options.short(0) === 0
      const numbers = view<ArrayLike<number>>(half ? Uint16Array : options.short(0) === 1 ? Float32Array : Float64Array, name, length, batch) // prettier-ignore
      return row => (half ? fromHalf(numbers[row]!) : numbers[row])
    }
    case 'Bool': {
      const bits = view(Uint8Array, name, Math.ceil(length / 8), batch)
      return row => bit(bits, row)
    }
    case 'Decimal': {
      const [scale, words] = [10 ** options.int(1), options.int(2, 128) / 64]
      need([1, 2, 4].includes(words), `${name} is a Decimal of ${64 * words} bits`)
      const parts = view(BigUint64Array, name, length * words, batch)
      return row => {
        const whole = parts.subarray(row * words, (row + 1) * words).reduceRight((sum, part) => (sum << 64n) | part, 0n)
        return Number(BigInt.asIntN(64 * words, whole)) / scale
      }
    }
    case 'Date': {
      const inDays = options.short(0, 1) === 0
      const times = long(inDays ? 32 : 64)
      return row => new Date(Number(times[row]) * (inDays ? 86_400_000 : 1))
    }
    case 'Timestamp': {
      const each = [1, 1e3, 1e6, 1e9][options.short(0)] ?? NaN
      const times = long()
      return row => new Date((Number(times[row]) / each) * 1000)
    }
    case 'Time': {
      const times = long(options.int(1, 32))
      return row => times[row]
    }
    case 'Duration': {
      const times = long()
      return row => times[row]
    }
    case 'FixedSizeBinary': {
      const width = options.int(0)
      const bytes = view(Uint8Array, name, length * width, batch)
      return row => new Uint8Array(bytes.subarray(row * width, (row + 1) * width))
    }
    case 'Binary':
    case 'LargeBinary':
    case 'Utf8':
    case 'LargeUtf8': {
      const ends = offsets(name, type.startsWith('Large'), length, batch)
      const bytes = batch.buffer(name)
      need(ends[length]! <= bytes.length, `${name} ends at byte ${ends[length]} of ${bytes.length}`)
      return type.endsWith('Utf8') ? row => bytes.toString('utf8', ends[row], ends[row + 1]) : row => new Uint8Array(bytes.subarray(ends[row], ends[row + 1])) // prettier-ignore
    }
    case 'BinaryView':
    case 'Utf8View': {
      const views = batch.buffer(name)
      need(views.length >= 16 * length, `${name} has ${length} values in ${views.length} bytes`)
      const others = batch.buffers(name)
      const bytesOf = (row: number): Buffer => {
        const [at, size] = [16 * row, views.readInt32LE(16 * row)]
        const [from, start] = size <= 12 ? [views, at + 4] : [others[views.readInt32LE(at + 8)], views.readInt32LE(at + 12)] // prettier-ignore
        need(from !== undefined && size >= 0 && start >= 0 && start + size <= from.length, `${name} lies beyond its bytes`) // prettier-ignore
        return from!.subarray(start, start + size)
      }
      return type === 'Utf8View' ? row => bytesOf(row).toString() : row => new Uint8Array(bytesOf(row))
    }
    case 'List':
    case 'LargeList':
    case 'Map': {
      const ends = offsets(name, type.startsWith('Large'), length, batch)
      const items = batch.nested(child())
      need(ends[length]! <= items.length, `${name} ends at value ${ends[length]} of ${items.length}`)
      return listed(items, row => ends[row]!, type === 'Map')
    }
    case 'FixedSizeList': {
      const size = options.int(0)
      const items = batch.nested(child())
      need(size >= 0 && size * length <= items.length, `${name} has ${length} lists of ${size} in ${items.length} values`) // prettier-ignore
      return listed(items, row => row * size)
    }
    case 'Struct': {
      const parts = children.map(part => [part.name, readColumn(part, batch)] as const)
      for (const [part, column] of parts) need(column.length >= length, `${name}.${part} has ${column.length} values of ${length}`) // prettier-ignore
      return row => Object.fromEntries(parts.map(([part, { at }]) => [part, at(row)]))
    }
    default:
      throw new Error(`${name} is a ${type || 'type of its own'}, needed a type that the library datasets stores. Write the column as one of these.`) // prettier-ignore
  }
}

/** Lists that begin at some values and end where the next begins; entries of maps are pairs. */
function listed(items: Column, begins: (row: number) => number, pairs = false): At {
  return row => {
    const first = begins(row)
    const list = Array.from({ length: begins(row + 1) - first }, (_, i) => items.at(first + i))
    return pairs ? list.map(item => Object.values(item as Row)) : list
  }
}

/** Where each value begins and the last ends. */
function offsets(name: string, large: boolean, length: number, batch: Batch): Float64Array | Int32Array {
  if (length === 0) return batch.buffer(name) && new Int32Array(1)
  const ends = large ? Float64Array.from(view(BigInt64Array, name, length + 1, batch), Number) : view(Int32Array, name, length + 1, batch) // prettier-ignore
  for (let i = 0, before = 0; i <= length; before = ends[i++]!) need(ends[i]! >= before, `${name} goes back from ${before} to ${ends[i]}`) // prettier-ignore
  return ends
}

const SIGNED = { 8: Int8Array, 16: Int16Array, 32: Int32Array, 64: BigInt64Array }
const UNSIGNED = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array, 64: BigUint64Array }

function integers(
  name: string,
  bits: number,
  signed: boolean,
  length: number,
  batch: Batch,
): ArrayLike<number | bigint> {
  need(bits in SIGNED, `${name} has integers of ${bits} bits`)
  return view<ArrayLike<number | bigint>>((signed ? SIGNED : UNSIGNED)[bits as 8], name, length, batch)
}

/** The next bytes of a batch as so many numbers. */
function view<T>(
  Numbers: { new (bytes: ArrayBufferLike, at: number, length: number): T; readonly BYTES_PER_ELEMENT: number },
  name: string,
  length: number,
  batch: Batch,
): T {
  const bytes = batch.buffer(name)
  need(bytes.length >= length * Numbers.BYTES_PER_ELEMENT, `${name} has ${length} values in ${bytes.length} bytes`)
  const aligned = bytes.byteOffset % Numbers.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes)
  return new Numbers(aligned.buffer, aligned.byteOffset, length)
}

/** A float of 16 bits. */
function fromHalf(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023]
  const size = exponent === 31 ? (fraction ? NaN : Infinity) : exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25) // prettier-ignore
  return bits & 0x8000 ? -size : size
}
