import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'

/** Locks this process holds, so that a lock left by a dead process with the same id (usual in containers) is not taken for ours. */
const held = new Set<string>()

/** Makes this process the only writer of a folder, until the returned function is called. A lock whose process has died on
 * this machine is taken over.
 * @throws naming the process and machine that write there now */
export function lock(dir: string): () => void {
  const path = resolve(join(dir, 'lock'))
  const mine = JSON.stringify({ pid: process.pid, host: hostname() })
  if (!claimed(path, mine)) {
    const owner = ownerOf(path)
    if (held.has(path) || owner === null || alive(owner))
      throw new Error(
        `${dir}: process ${owner?.pid ?? 'unknown'} on ${owner?.host ?? 'an unknown machine'} writes this run, needed it for one ` +
          `writer alone. Close that run, or choose another name; if that process is gone, delete ${path}.`,
      )
    rmSync(path, { force: true })
    if (!claimed(path, mine)) throw new Error(`${dir}: another process took this run just now. Choose another name.`)
  }
  held.add(path)
  return () => {
    if (held.delete(path)) rmSync(path, { force: true })
  }
}

/** What a lock says. */
export interface Owner {
  pid: number
  host: string
}

/** The process that writes a folder now; null if none does. */
export function writerOf(dir: string): Owner | null {
  const path = join(dir, 'lock')
  const owner = existsSync(path) ? ownerOf(path) : null
  return owner !== null && (held.has(resolve(path)) || alive(owner)) ? owner : null
}

function claimed(path: string, content: string): boolean {
  try {
    writeFileSync(path, content, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function ownerOf(path: string): Owner | null {
  try {
    const owner = JSON.parse(readFileSync(path, 'utf8')) as Partial<Owner> | null
    return Number.isInteger(owner?.pid) && typeof owner?.host === 'string' ? (owner as Owner) : null
  } catch {
    return null
  }
}

/** Whether a lock's process may still write: it runs on this machine, or is on another, where nobody can tell. */
function alive({ pid, host }: Owner): boolean {
  if (host !== hostname()) return true
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
