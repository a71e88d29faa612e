import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import type { Diagnostic } from 'tslab/dist/converter.js'
import type { Position } from './lower.js'
import { SCOPE } from './scope.js'

const red = (text: string) => `\u001b[31m${text}\u001b[39m`
const dim = (text: string) => `\u001b[2m${text}\u001b[22m`

/** What to do about a diagnostic, by its code. */
const advice: Record<number, (message: string) => string> = {
  2307: message => {
    const [, name] = /^Cannot find module '((?:@[^/']+\/)?[^./'][^/']*)/.exec(message) ?? []
    return name === undefined ? '' : ` Run \`npm install ${name}\` in the notebook's folder.`
  },
  6059: () => " Local files lie in the notebook's folder or below.",
}

/** What the compiler found wrong with a cell; nothing of the cell has run. */
export class TypeScriptError extends Error {
  override readonly name = 'TypeScriptError'
  readonly #code: string
  readonly #diagnostics: readonly Diagnostic[]

  constructor(code: string, diagnostics: readonly Diagnostic[]) {
    super(diagnostics[0]!.messageText)
    this.#code = code
    this.#diagnostics = diagnostics
  }

  /** Each message with its line and a mark below it; the elaborations of a message follow it, indented. */
  get traceback(): string[] {
    return this.#diagnostics.flatMap((diagnostic, i) => {
      const { fileName, start, end, messageText, code } = diagnostic
      const before = this.#diagnostics[i - 1]
      if (before?.start.offset === start.offset && before.fileName === fileName) return [`  ${messageText}`]
      const at = { line: start.line + 1, column: start.character + 1 }
      const message = messageText + (advice[code]?.(messageText) ?? '')
      const title = `${fileName ?? 'cell'}:${at.line}:${at.column} - ${red('error')} ${dim(`TS${code}:`)} ${message}`
      return fileName === undefined ? [title, ...excerpt(this.#code, at, end.offset - start.offset)] : [title]
    })
  }
}

/** The stop button, as Jupyter's front ends know it. */
export class KeyboardInterrupt extends Error {
  override readonly name = 'KeyboardInterrupt'
  readonly traceback: string[] = [`${red('KeyboardInterrupt')}: the cell was interrupted`]
  constructor() {
    super('the cell was interrupted')
  }
}

interface Source {
  readonly origin: (at: Position) => Position
  readonly text?: string | undefined
}
const sources = new Map<string, Source>()
/** The kernel's files, and the one of ours through which it calls cells. */
const kernel = new RegExp(`^(file://)?${fileURLToPath(new URL('..', import.meta.url))}(kernels/|src/interrupt.js)`)

/** Makes the stack frames of compiled code show positions of what the user wrote.
 * @param file the name under which the code runs
 * @param text what the user wrote, for the excerpt in a traceback */
export function registerSource(file: string, source: Source): void {
  sources.set(file, source)
}

/** Its text is a line of a stack without `at`. */
interface Site extends NodeJS.CallSite {
  toString(): string
}

/** Rewrites the frames of all errors of this thread: compiled positions become the user's; frames of Node go, and those
 * of the kernel unless there are no others. */
export function installStackTraces(): void {
  Error.prepareStackTrace = (error, sites: Site[]) => {
    const fileOf = (site: Site) => site.getFileName() ?? 'node:'
    const outer = sites.filter(site => !fileOf(site).startsWith('node:'))
    const users = outer.filter(site => !kernel.test(fileOf(site)))
    return [title(error), ...(users.length > 0 ? users : outer).map(site => `    at ${frame(site)}`)].join('\n')
  }
}

function frame(site: Site): string {
  const file = site.getFileName() ?? ''
  const [line, column] = [site.getLineNumber() ?? 1, site.getColumnNumber() ?? 1]
  const source = sources.get(file)
  if (!source) return site.toString()
  const at = source.origin({ line, column })
  return site.toString().replace(`${file}:${line}:${column}`, `${file}:${at.line}:${at.column}`)
}

function title(error: unknown): string {
  try {
    return String(error)
  } catch {
    return 'Error'
  }
}

/** What an `error` message and a failed reply carry. */
export interface Failure extends Record<string, unknown> {
  readonly ename: string
  readonly evalue: string
  readonly traceback: string[]
}

/** Anything thrown → the fields of an `error` message, with the line of the cell it comes from. */
export function failure(thrown: unknown): Failure {
  const ename = thrown instanceof Error ? thrown.name : 'Uncaught'
  const evalue = thrown instanceof Error ? withUserNames(thrown.message) : describe(thrown)
  if (thrown instanceof TypeScriptError || thrown instanceof KeyboardInterrupt)
    return { ename, evalue, traceback: thrown.traceback }
  if (!(thrown instanceof Error)) return { ename, evalue, traceback: [`${red(ename)}: ${evalue}`] }
  const lines = withUserNames(describe(thrown))
    .replace(/^\[(.*)\]/, '$1') // around an error without frames
    .split('\n')
  const place = /(cell\[\d+\]):(\d+):(\d+)/.exec(thrown.stack ?? '')
  const text = place ? sources.get(place[1]!)?.text : undefined
  const mark = place && text ? excerpt(text, { line: Number(place[2]), column: Number(place[3]) }) : []
  const first = lines.findIndex(line => /^ {4}at /.test(line))
  const head = lines.slice(0, first < 0 ? lines.length : first).join('\n')
  return {
    ename,
    evalue,
    traceback: [head.replace(ename, red), ...mark, ...lines.slice(first < 0 ? lines.length : first)],
  }
}

/** A message without what lowering has put around names: `(0 , __scope.f) is not a function`. */
const withUserNames = (message: string): string =>
  message.replace(/\(0 ?, [\w$]+\.([\w$]+)\)/g, '$1').replaceAll(`${SCOPE}.`, '')

function describe(value: unknown): string {
  try {
    return inspect(value)
  } catch {
    return 'a value that cannot be printed'
  }
}

/** A line of code with its number, and a mark under the columns from `at` on. */
function excerpt(code: string, { line, column }: Position, length = 1): string[] {
  const text = code.split('\n')[line - 1]
  if (text === undefined) return []
  const number = `${line} | `
  const shown = Math.max(1, Math.min(length, text.length - column + 1))
  return [dim(number) + text, ' '.repeat(number.length + column - 1) + red('~'.repeat(shown))]
}
