import { hash } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, homedir } from 'node:os'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'
import type { PjrtClient } from './pjrt/client.js'

const LIMIT = 2e9 // bytes in the folder
const AFTER_EVICTION = 0.8 // of the limit: the folder is not searched at every write
const ENDING = '.executable'
const ABANDONED = 3600_000 // ms after which a file half written is nobody's any more
const CHECKSUM = 32

/** What tells a program from all others: its text and the compile options, hashed. */
export function programKey(text: string, options: Uint8Array): string {
  return hash('sha256', `${Buffer.from(options).toString('hex')}\n${text}`)
}

/** Compiled programs in a folder, so that a program is compiled once on a machine and not once a process.
 *
 * A file is named by the hash of all that its content depends on: the program's text, the compile options, the plugin, the
 * devices, the processor and XLA_FLAGS. It holds a SHA-256 and what the plugin serialised. It is written beside its place and
 * renamed, so that another process sees it whole or not at all. When the folder outgrows its limit, those not used for longest go.
 *
 * Nothing here fails a program: what cannot be read is compiled, what cannot be written is not kept. */
export class ExecutableCache {
  private readonly identity: string
  /** Bytes in the folder; unknown until the first write. */
  private size = NaN
  private writable = true

  /** @param folder made at the first write */
  constructor(
    readonly folder: string,
    client: PjrtClient,
    private readonly limit = LIMIT,
  ) {
    this.identity = identityOf(client)
  }

  /** The user's cache: REWARDLAB_CACHE is its folder, or `off`; default `$XDG_CACHE_HOME/rewardlab`, or `~/.cache/rewardlab`. */
  static open(client: PjrtClient): ExecutableCache | null {
    const chosen = process.env.REWARDLAB_CACHE
    if (chosen === 'off' || !client.api.has('Executable_DeserializeAndLoad')) return null
    return new ExecutableCache(
      chosen || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'rewardlab'),
      client,
    )
  }

  /** What {@link write} was given, in this process or another; null if there is nothing that can be used.
   * @param key of {@link programKey} */
  read(key: string): Uint8Array | null {
    let content: Buffer
    try {
      content = readFileSync(this.path(key))
    } catch {
      return null
    }
    const serialized = content.subarray(CHECKSUM)
    if (checksum(serialized).equals(content.subarray(0, CHECKSUM))) {
      attempt(() => utimesSync(this.path(key), new Date(), new Date())) // used now
      return serialized
    }
    this.reject(key, 'its checksum is wrong')
    return null
  }

  /** Deletes a file that cannot be used. */
  reject(key: string, reason: string): void {
    console.warn(`xla: ${this.path(key)}: ${reason}. The file is deleted and its program compiled again.`)
    attempt(() => rmSync(this.path(key), { force: true }))
  }

  write(key: string, serialized: Uint8Array): void {
    const bytes = serialized.length + CHECKSUM
    if (!this.writable || bytes > this.limit) return
    const partial = `${this.path(key)}.${process.pid}.${threadId}.partial`
    try {
      if (Number.isNaN(this.size)) {
        mkdirSync(this.folder, { recursive: true, mode: 0o700 }) // what lies there is run: nobody else may write
        this.tidy()
      }
      writeFileSync(partial, Buffer.concat([checksum(serialized), serialized]))
      renameSync(partial, this.path(key))
      this.size += bytes
      if (this.size > this.limit) this.tidy()
    } catch (error) {
      attempt(() => rmSync(partial, { force: true }))
      this.writable = false
      const reason = (error as Error).message
      console.warn(
        `xla: compiled programs cannot be kept in ${this.folder} (${reason}): each start will compile them again. ` +
          'Set REWARDLAB_CACHE to a folder that can be written, or to off.',
      )
    }
  }

  /** Measures the folder, and deletes what was not used for longest if it is too large. */
  private tidy(): void {
    const files = readdirSync(this.folder).flatMap(name => {
      const stats = statSync(join(this.folder, name), { throwIfNoEntry: false }) // another process may have deleted it
      return stats ? [{ path: join(this.folder, name), bytes: stats.size, used: stats.mtimeMs }] : []
    })
    for (const { path, used } of files)
      if (path.endsWith('.partial') && used < Date.now() - ABANDONED) attempt(() => rmSync(path, { force: true }))
    const programs = files.filter(({ path }) => path.endsWith(ENDING)).sort((a, b) => a.used - b.used)
    this.size = programs.reduce((sum, { bytes }) => sum + bytes, 0)
    if (this.size <= this.limit) return
    for (const { path, bytes } of programs) {
      if (this.size <= AFTER_EVICTION * this.limit) return
      rmSync(path, { force: true })
      this.size -= bytes
    }
  }

  private path(key: string): string {
    return join(this.folder, hash('sha256', `${key}\n${this.identity}`) + ENDING)
  }
}

/** What compiled code depends on beside the program: PJRT promises nothing across plugins and devices, and code for a CPU uses its
 * instructions and is split for its number of processors. */
function identityOf(client: PjrtClient): string {
  const { size, mtimeMs } = statSync(client.api.path)
  const devices = client.devices.map(device => client.kind(device))
  return JSON.stringify([
    [client.platform, client.platformVersion, client.api.version, size, mtimeMs],
    devices,
    [process.arch, cpus()[0]?.model, availableParallelism(), instructions()],
    process.env.XLA_FLAGS ?? '',
  ])
}

/** The instruction sets of the processor, where the system tells them. */
function instructions(): string {
  try {
    return /^(?:flags|Features)\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? ''
  } catch {
    return ''
  }
}

const checksum = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer')

/** Tries what does no harm if it fails. */
function attempt(action: () => void): void {
  try {
    action()
  } catch {
    // a folder that is read-only, or a file that another process took
  }
}
