import { rmSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import type { Target } from './targets.js'

const MOST_SECONDS = 2 // of processor time
const MOST_GROWTH = 600 * 2 ** 20 // bytes of resident memory
const LONGEST_MESSAGE = 2000

/** Has a parser read an input.
 * @returns what is wrong with how it went; null if it read it, or said in one clear Error why not */
export async function attempt({ parse, where }: Target, path: string, input: Buffer): Promise<string | null> {
  rmSync(path, { force: true }) // ext4 waits for the disk where a file is written over
  writeFileSync(path, input)
  const [began, before] = [process.cpuUsage(), process.resourceUsage().maxRSS]
  let [problem, stopped]: [string | null, boolean] = [null, false]
  try {
    await parse(path)
  } catch (error) {
    problem = problemOf(error, path, where)
    stopped = problem === null && (error as Error).message.includes('was stopped') // by a bound of its own
  }
  const { user, system } = process.cpuUsage(began)
  const grown = 1024 * (process.resourceUsage().maxRSS - before)
  if (!stopped && user + system > MOST_SECONDS * 1e6)
    return `took ${((user + system) / 1e6).toFixed(1)} s of processor time`
  return grown > MOST_GROWTH ? `took ${Math.round(grown / 2 ** 20)} MB` : problem
}

/** An Error of ours says where; what others throw has other classes, or does not name the file. */
export function problemOf(error: unknown, path: string, where = /^$/): string | null {
  if (!(error instanceof Error)) return `threw ${typeof error}`
  const { message, stack = '' } = error
  const frame = /\n\s+at .*/.exec(stack)?.[0].trim() ?? ''
  if (error.constructor !== Error && !where.test(message))
    return `${error.constructor.name}: ${message.slice(0, 100)} ${frame}`
  if (message.includes('call stack size')) return `wraps ${message.slice(0, 150)} ${frame}`
  if (message.length > LONGEST_MESSAGE) return `a message of ${message.length} characters ${frame}`
  const folder = path.slice(0, -basename(path).length - 1)
  return where.test(message) || message.includes(basename(path)) || message.includes(folder) ? null : `names no file: ${message.slice(0, 100)} ${frame}` // prettier-ignore
}
