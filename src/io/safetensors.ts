import { open, rename, rm, type FileHandle } from 'node:fs/promises'
import { excerpt } from './excerpt.js'
import { parseJson } from './json.js'
import { requireFile } from './requireFile.js'

/** Element types this program reads and writes. */
export type SafetensorsType = 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'U8' | 'BOOL'

/** Values in memory: floats widen to float32; I64 narrows to int32 (an overflow is an error); U8 and BOOL are bytes. */
export type TensorData = Float32Array | Int32Array | Uint8Array

export interface TensorInfo {
  dtype: SafetensorsType
  shape: number[]
}

/** A tensor to write; `data` may be a function, so that one tensor at a time is in memory. */
export interface StoredTensor extends TensorInfo {
  data: TensorData | (() => TensorData | Promise<TensorData>)
}

/** Named tensors on disk, read one at a time. */
export interface TensorSource {
  /** What messages call it: a file or a folder. */
  readonly path: string
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly metadata: Readonly<Record<string, string>>
  read(name: string): Promise<TensorData>
  close(): Promise<void>
}

const BYTES: Record<SafetensorsType, number> = { F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, BOOL: 1 }
const MAX_HEADER = 100_000_000 // bytes, the limit of the reference implementation

/** Opens a safetensors file: reads and checks its header, no data yet.
 * @throws Error naming the file if it is missing, truncated, or its header is not sound: offsets must lie inside the
 * file, follow one another without holes or overlaps, and match dtype × shape; no name comes twice
 * @source https://github.com/huggingface/safetensors, "Format" */
export async function openSafetensors(path: string): Promise<TensorSource> {
  requireFile(path)
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    const found = error.code === 'ENOENT' ? 'there is no such file' : error.message
    throw new Error(`safetensors ${path}: ${found}. Needed: a .safetensors file. Check the path.`)
  })
  try {
    const { entries, metadata, start } = await readHeader(file, path)
    return {
      path,
      metadata,
      tensors: entries,
      async read(name) {
        const entry = entries.get(name)
        if (!entry)
          throw new Error(`safetensors ${path}: no tensor ${excerpt(name)}. It holds ${list([...entries.keys()])}.`)
        const bytes = await readAt(file, start + entry.begin, entry.end - entry.begin, path)
        return decode(bytes, entry.dtype, `safetensors ${path}: ${excerpt(name)}`)
      },
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Writes a safetensors file, through a temporary one, so that no reader ever sees half of it.
 * @throws Error naming the file if it cannot be written, or a tensor whose values do not fill its shape */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, StoredTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {}
  let offset = 0
  for (const [name, { dtype, shape }] of Object.entries(tensors)) {
    const end = offset + BYTES[dtype] * elements(shape)
    header[name] = { dtype, shape, data_offsets: [offset, end] }
    offset = end
  }
  const text = Buffer.from(JSON.stringify(header))
  const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, ' ')
  text.copy(padded)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))

  const temporary = `${path}.${process.pid}.part`
  const file = await open(temporary, 'w').catch((error: NodeJS.ErrnoException) => {
    const found = error.code === 'ENOENT' ? 'there is no such folder' : error.message
    throw new Error(`safetensors ${path}: ${found}. Needed: a file that can be written. Check the path.`)
  })
  try {
    await file.writeFile(length)
    await file.writeFile(padded)
    for (const [name, tensor] of Object.entries(tensors)) {
      const data = typeof tensor.data === 'function' ? await tensor.data() : tensor.data
      const needed = elements(tensor.shape)
      if (data.length !== needed)
        throw new Error(
          `safetensors ${path}: "${name}" has ${data.length} values; its shape [${tensor.shape.join(',')}] needs ${needed}.`,
        )
      await file.writeFile(encodeTensor(data, tensor.dtype))
    }
    await file.close()
    await rename(temporary, path)
  } catch (error) {
    await file.close()
    await rm(temporary, { force: true })
    throw error
  }
}

interface Entry extends TensorInfo {
  begin: number
  end: number
}

async function readHeader(file: FileHandle, path: string) {
  const fail = (
    got: string,
    advice = 'The file is damaged, not safetensors, or a Git LFS pointer; fetch or save it again.',
  ): never => {
    throw new Error(`safetensors ${path}: ${got}. ${advice}`)
  }
  const { size } = await file.stat()
  if (size < 8) fail(`${size} bytes, needed at least 8`)
  const first = await readAt(file, 0, 8, path)
  const length = Number(first.readBigUInt64LE())
  if (length > MAX_HEADER && isPickle(first)) fail('found a pickle of Python', AS_SAFETENSORS)
  if (length > MAX_HEADER) fail(`a header of ${length} bytes, needed at most ${MAX_HEADER}`)
  if (8 + length > size) fail(`truncated: ${size} bytes, the header alone needs ${8 + length}`)

  const text = await readAt(file, 8, length, path)
  let header: unknown
  try {
    header = parseJson(text)
  } catch (error) {
    fail(`the header is ${(error as Error).message.replace(/\.$/, '')}`)
  }
  if (!isRecord(header)) return fail('the header is not a JSON object')
  if (membersIn(text) !== membersOf(header)) fail('a name comes twice in the header')

  const metadata = header['__metadata__'] ?? {}
  if (!isRecord(metadata) || !Object.values(metadata).every(value => typeof value === 'string'))
    return fail('__metadata__ is not an object of texts')
  const entries = new Map<string, Entry>()
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const { dtype, shape, data_offsets: offsets } = isRecord(value) ? value : {}
    if (!isNaturals(shape) || !isNaturals(offsets) || offsets.length !== 2)
      return fail(`${excerpt(name)} lacks a sound shape or data_offsets`)
    if (typeof dtype !== 'string' || !Object.hasOwn(BYTES, dtype))
      return fail(
        `${excerpt(name)} has dtype ${excerpt(dtype)}`,
        `Supported are ${Object.keys(BYTES).join(', ')}; convert it.`,
      )
    const [begin, end] = offsets as [number, number]
    const needed = BYTES[dtype as SafetensorsType] * elements(shape)
    if (end - begin !== needed)
      fail(`${excerpt(name)} ${dtype} ${excerpt(shape)} has ${end - begin} bytes in data_offsets, needed ${needed}`)
    entries.set(name, { dtype: dtype as SafetensorsType, shape, begin, end })
  }

  let at = 0
  for (const [name, { begin, end }] of [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== at)
      fail(`${excerpt(name)} begins at byte ${begin}, ${begin < at ? 'inside another tensor' : 'after a hole'}`)
    at = end
  }
  const start = 8 + length
  if (start + at > size) fail(`truncated: ${size} bytes, needed ${start + at}`)
  if (start + at < size) fail(`${size - start - at} bytes follow the last tensor`)
  return { entries, metadata: metadata as Record<string, string>, start }
}

/** Files of torch.save are a zip, older ones begin with the pickle's protocol. */
const isPickle = (bytes: Buffer): boolean => bytes.readUInt32BE(0) === 0x504b0304 || (bytes[0] === 0x80 && bytes[1]! < 6) // prettier-ignore

/** What to do about weights that run code when they are read. */
export const AS_SAFETENSORS =
  'Pickles may run any code when they are read, so that they are not. Convert it where that does no harm, in Python: ' +
  'from safetensors.torch import save_file; save_file(torch.load(FILE, weights_only=True), "model.safetensors").'

/** Members that a JSON text writes: colons outside its strings. */
function membersIn(text: Uint8Array): number {
  const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a]
  let [members, quoted] = [0, false]
  for (let i = 0; i < text.length; i++) {
    if (text[i] === QUOTE) quoted = !quoted
    else if (quoted && text[i] === BACKSLASH) i++
    else if (!quoted && text[i] === COLON) members++
  }
  return members
}

/** Members that a JSON value has, where the last of a name is kept. */
const membersOf = (value: unknown): number =>
  typeof value !== 'object' || value === null
    ? 0
    : Object.values(value).reduce<number>((sum, child) => sum + membersOf(child), Array.isArray(value) ? 0 : Object.keys(value).length) // prettier-ignore

async function readAt(file: FileHandle, position: number, length: number, path: string): Promise<Buffer> {
  const buffer = Buffer.from(new ArrayBuffer(length)) // not from the pool: typed views need alignment
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(buffer, done, Math.min(length - done, 2 ** 30), position + done)
    if (bytesRead === 0) throw new Error(`safetensors ${path}: ended at byte ${position + done} while it was read.`)
    done += bytesRead
  }
  return buffer
}

function decode(bytes: Buffer, dtype: SafetensorsType, where: string): TensorData {
  const { buffer, length } = bytes
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer)
    case 'I32':
      return new Int32Array(buffer)
    case 'U8':
    case 'BOOL':
      return new Uint8Array(buffer)
    case 'BF16': {
      const halves = new Uint16Array(buffer)
      const words = new Uint32Array(halves.length)
      for (let i = 0; i < halves.length; i++) words[i] = halves[i]! << 16
      return new Float32Array(words.buffer)
    }
    case 'F16':
      return Float32Array.from(new Uint16Array(buffer), float16)
    case 'I64': {
      const words = new Int32Array(buffer) // little-endian pairs
      const values = new Int32Array(length / 8)
      for (let i = 0; i < values.length; i++) {
        const low = words[2 * i]!
        if (words[2 * i + 1] !== low >> 31) throw new Error(`${where} holds an I64 beyond int32 at index ${i}.`)
        values[i] = low
      }
      return values
    }
  }
}

/** Values as a file holds them, little-endian. */
export function encodeTensor(data: TensorData, dtype: SafetensorsType): Uint8Array {
  switch (dtype) {
    case 'F32':
      return bytesOf(data instanceof Float32Array ? data : Float32Array.from(data))
    case 'I32':
      return bytesOf(data instanceof Int32Array ? data : Int32Array.from(data))
    case 'U8':
    case 'BOOL':
      return Uint8Array.from(data)
    case 'BF16': {
      const words = new Uint32Array(Float32Array.from(data).buffer)
      return bytesOf(Uint16Array.from(words, bfloat16))
    }
    case 'I64':
      return bytesOf(BigInt64Array.from(Array.from(data, BigInt)))
    case 'F16':
      throw new Error('safetensors: F16 is read but not written. Write F32 or BF16.')
  }
}

/** Bits of the float32 with these half-precision bits, as a number. */
function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction ? NaN : sign * Infinity
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** The upper half of float32 bits, rounded to nearest even; NaN stays NaN. */
function bfloat16(word: number): number {
  if ((word & 0x7fffffff) > 0x7f800000) return (word >>> 16) | 0x40
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff
}

const elements = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1)
const bytesOf = (a: ArrayBufferView) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)
const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x)
const isNaturals = (x: unknown): x is number[] => Array.isArray(x) && x.every(n => Number.isSafeInteger(n) && n >= 0)
const list = (names: string[]) =>
  names
    .slice(0, 8)
    .map(name => excerpt(name))
    .join(', ') + (names.length > 8 ? `, … (${names.length})` : '')
