import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Content } from './wire.js'

/** One executed cell: the session it ran in (counted from 1), its number there, its code. */
type Entry = readonly [session: number, line: number, source: string]

/** Entries that are kept when the file, at the start of a kernel, has twice as many. */
const KEPT = 10_000

/** The cells of this session and of earlier ones, in a file of JSON lines. */
export class History {
  readonly #path: string
  readonly #entries: Entry[]
  readonly #session: number

  /** @param path by default in the user's state folder; `REWARDLAB_HISTORY` overrides it */
  constructor(path = process.env['REWARDLAB_HISTORY'] ?? defaultPath()) {
    this.#path = path
    this.#entries = readEntries(path)
    if (this.#entries.length > 2 * KEPT) this.#trim()
    this.#session = (this.#entries.at(-1)?.[0] ?? 0) + 1
  }

  /** The file is replaced whole, so that a kernel that starts meanwhile finds it. */
  #trim(): void {
    this.#entries.splice(0, this.#entries.length - KEPT)
    try {
      writeFileSync(`${this.#path}.new`, this.#entries.map(entry => JSON.stringify(entry) + '\n').join(''))
      renameSync(`${this.#path}.new`, this.#path)
    } catch {
      // another time
    }
  }

  /** A folder that cannot be written costs the history on disk, never the cell. */
  add(line: number, source: string): void {
    const entry: Entry = [this.#session, line, source]
    this.#entries.push(entry)
    try {
      mkdirSync(dirname(this.#path), { recursive: true })
      appendFileSync(this.#path, JSON.stringify(entry) + '\n')
    } catch {
      // kept in memory
    }
  }

  /** Answers a `history_request`.
   * @param request.hist_access_type `tail` (last n), `range` (of a session; ≤ 0 counts back from this one) or `search`
   *   (a pattern with * and ?) */
  query(request: Content): (Entry | [number, number, [string, null]])[] {
    const { hist_access_type: kind, output = false, n = 10, unique = false } = request
    const { session = 0, start = 1, stop = null, pattern = '*' } = request
    let found = this.#entries
    if (kind === 'range') {
      const wanted = Number(session) <= 0 ? this.#session + Number(session) : Number(session)
      const end = stop === null ? Infinity : Number(stop)
      found = found.filter(([of, line]) => of === wanted && line >= Number(start) && line < end)
    } else {
      if (kind === 'search') found = found.filter(([, , source]) => glob(String(pattern)).test(source))
      if (unique === true) found = [...new Map(found.map(entry => [entry[2], entry])).values()]
      found = n === null ? found : found.slice(-Number(n) || found.length)
    }
    return output === true ? found.map(([of, line, source]) => [of, line, [source, null]]) : found
  }
}

function defaultPath(): string {
  return join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'rewardlab', 'history.jsonl')
}

function readEntries(path: string): Entry[] {
  try {
    const lines = readFileSync(path, 'utf8').split('\n')
    return lines.flatMap(line => (line === '' ? [] : [JSON.parse(line) as Entry]))
  } catch {
    return []
  }
}

function glob(pattern: string): RegExp {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's')
}
