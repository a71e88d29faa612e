import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { excerpt } from './excerpt.js'
import { requireFile } from './requireFile.js'
import { parsedBytes, requireRoom } from './requireRoom.js'

const MOST_BYTES = 100e6 // of a file that is read whole: Gemma's tokenizer.json has 33 MB
const MOST_DEPTH = 100

/** Reads a JSON file that must hold an object.
 * @param options.optional a file that is not there counts as empty
 * @throws Error naming the file if it is missing or is not a JSON object */
export async function readJson(path: string, options: { optional?: boolean } = {}): Promise<Record<string, unknown>> {
  requireFile(path, MOST_BYTES)
  const text = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (options.optional && error.code === 'ENOENT') return Buffer.from('{}')
    const folder = existsSync(dirname(path)) ? '' : ', nor its folder'
    const found = error.code === 'ENOENT' ? `there is no such file${folder}` : error.message
    throw new Error(`${path}: ${found}. Check the path.`)
  })
  const value = read(text, path)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${path}: found ${Array.isArray(value) ? 'an array' : typeof value}, needed a JSON object.`)
  return value as Record<string, unknown>
}

function read(text: Uint8Array, path: string): unknown {
  try {
    return parseJson(text)
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message} Fetch or write the file again.`, { cause: error })
  }
}

/** The value of a JSON text.
 * @throws Error if it is none, is nested more than 100 deep, or would fill the heap; whoever calls says where */
export function parseJson(text: string | Uint8Array): unknown {
  if (text.length > 1e6) requireRoom(parsedBytes(Buffer.from(text)), 'JSON', 'Split it, or write JSON lines.')
  let value: unknown
  try {
    value = JSON.parse(typeof text === 'string' ? text : new TextDecoder().decode(text)) // without a byte order mark
  } catch (error) {
    throw new Error(`not JSON (${(error as Error).message}).`, { cause: error })
  }
  if (isDeep(value, MOST_DEPTH)) throw new Error(`JSON nested more than ${MOST_DEPTH} deep, needed less.`)
  return value
}

/** Whether a value has more levels than so many. */
const isDeep = (value: unknown, levels: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some(child => isDeep(child, levels - 1)))

/** The fields of a JSON file, such as config.json. */
export const readFields = async (path: string): Promise<Fields> => new Fields(await readJson(path), path)

/** Checked access to the fields of a JSON object; every error names the file, the field, what was found and needed. */
export class Fields {
  constructor(
    private readonly json: Readonly<Record<string, unknown>>,
    /** The file, for messages. */
    readonly where: string,
  ) {}

  /** The value as it stands; null counts as absent. */
  get(name: string): unknown {
    return this.json[name] ?? undefined
  }

  /** Whether the field stands there, be it as null. */
  has(name: string): boolean {
    return name in this.json
  }

  /** The fields of an object within; none if it is absent. */
  within(name: string): Fields {
    const value = this.get(name) ?? {}
    if (typeof value !== 'object' || Array.isArray(value)) this.fail(name, 'an object')
    return new Fields(value as Record<string, unknown>, `${this.where}: ${name}`)
  }

  /** An integer from 1 to 2²⁴, more than any size of a model is. */
  count(name: string, fallback?: number, most = 2 ** 24): number {
    const fits = (v: unknown): v is number => Number.isInteger(v) && (v as number) > 0 && (v as number) <= most
    return this.check(name, fallback, fits, `an integer ≥ 1, at most ${most}`)
  }

  number(name: string, fallback?: number): number {
    return this.check(
      name,
      fallback,
      (v): v is number => typeof v === 'number' && v > 0 && v < Infinity,
      'a number > 0',
    )
  }

  flag(name: string, fallback?: boolean): boolean {
    return this.check(name, fallback, v => typeof v === 'boolean', 'true or false')
  }

  text(name: string, fallback?: string): string {
    return this.check(name, fallback, v => typeof v === 'string', 'a string')
  }

  /** Requires an absent field or one of the given values, where other values ask for what is not supported. */
  only(name: string, ...allowed: unknown[]): void {
    const value = this.get(name)
    if (value !== undefined && !allowed.includes(value))
      this.fail(name, allowed.map(a => JSON.stringify(a)).join(' or '))
  }

  fail(name: string, needed: string): never {
    const value = this.get(name)
    const found = value === undefined ? 'is missing' : `is ${excerpt(value)}`
    throw new Error(`${this.where}: ${name} ${found}, needed ${needed}.`)
  }

  private check<T>(name: string, fallback: T | undefined, test: (value: unknown) => value is T, needed: string): T {
    const value = this.get(name) ?? fallback
    return test(value) ? value : this.fail(name, needed)
  }
}
