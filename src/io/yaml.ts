import { readFileSync } from 'node:fs'
import { parseDocument } from 'yaml'
import { excerpt } from './excerpt.js'
import { requireFile } from './requireFile.js'

const MOST_BYTES = 2 ** 20 // a configuration has some hundred
const MOST_DEPTH = 200

/** Reads a YAML file that must hold a mapping. Aliases that stand for more than 100 values, tags of other languages and keys that come twice are refused.
 * @throws Error naming the file, and the line of what is no YAML */
export function readYaml(path: string): Record<string, unknown> {
  requireFile(path, MOST_BYTES)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new Error(`${path}: cannot be read (${(error as Error).message}). Check the path.`, { cause: error })
  }
  const value = parseYaml(text, path)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new Error(`${path}: got ${excerpt(value)}, needs a mapping of fields such as { name: value }.`)
}

/** @throws Error naming `where` and the line of what is no YAML */
export function parseYaml(text: string, where: string): unknown {
  if (isDeep(text)) throw new Error(`${where}: no YAML: nested more than ${MOST_DEPTH} deep, needed less.`)
  try {
    const document = parseDocument(text, { logLevel: 'silent' })
    const [problem] = [...document.errors, ...document.warnings]
    if (problem) throw problem
    return document.toJS({ maxAliasCount: 100 }) as unknown
  } catch (error) {
    const [reason] = (error as Error).message.split('\n', 1)
    throw new Error(`${where}: no YAML: ${reason!.slice(0, 200)}`, { cause: error })
  }
}

/** Whether a text may nest deeper than any configuration, by its brackets and by where lines begin. The parser calls itself a level, and V8 ends a process
 * that has no stack left for compiling a regular expression. */
function isDeep(text: string): boolean {
  let open = 0
  for (const line of text.split(/\r?\n/)) {
    if (/^(?:\s|[-?:]\s)*/.exec(line)![0].length > MOST_DEPTH) return true
    for (const letter of line) {
      if ('[{'.includes(letter)) open++
      else if (']}'.includes(letter)) open = Math.max(0, open - 1)
      if (open > MOST_DEPTH) return true
    }
  }
  return false
}
