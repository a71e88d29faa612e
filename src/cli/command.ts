import { parseArgs, type ParseArgsConfig } from 'node:util'
import { nearest } from '../config.js'

/** One command of the command line. */
export interface Command {
  /** One line for the list of commands. */
  summary: string
  /** What `--help` prints. */
  help: string
  /** Runs with the arguments after the command's name.
   * @throws Error with a message of one line */
  run(args: string[], print: Print): Promise<void>
}

/** Prints a result: a text for people, or with `--json` the object, as one line of JSON. */
export type Print = (text: string, json: object) => void

type Options = NonNullable<ParseArgsConfig['options']>
type Parsed<O extends Options> = ReturnType<typeof parseArgs<{ options: O; allowPositionals: true; strict: true }>>

/** Reads a command's arguments; all of `positionals` must be there.
 * @throws Error naming an unknown option or a missing argument */
export function parse<O extends Options>(args: string[], positionals: readonly string[], options: O): Parsed<O> {
  const known = Object.keys({ ...options, json: {}, help: {} })
  for (const token of parseArgs({ args, options, allowPositionals: true, strict: false, tokens: true }).tokens)
    if (token.kind === 'option' && !known.includes(token.name))
      throw new Error(`unknown option ${token.rawName}. Did you mean --${nearest(token.name, known)}? See --help.`)
  const parsed = parseArgs({ args, options, allowPositionals: true as const, strict: true as const })
  const [found, needed] = [parsed.positionals.length, positionals.length]
  if (found !== needed)
    throw new Error(`found ${found} arguments, needed ${needed}: ${positionals.join(' ')}. See --help.`)
  return parsed
}

/** The number an option stands for.
 * @throws Error naming the option */
export function numberOf(name: string, text: string): number {
  const value = text.trim() === '' ? NaN : Number(text)
  if (Number.isNaN(value)) throw new Error(`--${name} is "${text}", needed a number.`)
  return value
}

/** Does work that ends early at Ctrl-C, SIGTERM, or where the process that started this one with a channel has gone; the second time this process ends at once.
 * @param work is given the signal, and what writes a line to stderr */
export async function untilSignalled<T>(
  work: (signal: AbortSignal, say: (text: string) => void) => Promise<T>,
): Promise<T> {
  const stop = new AbortController()
  const say = (text: string) => void process.stderr.write(`${text}\n`)
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(1)
    say('\nstopping after this step; once more to leave at once')
    stop.abort()
  }
  const signals = ['SIGINT', 'SIGTERM', 'disconnect'] as const
  for (const signal of signals) process.on(signal, onSignal)
  process.channel?.unref() // a listener keeps it open
  try {
    return await work(stop.signal, say)
  } finally {
    for (const signal of signals) process.off(signal, onSignal)
  }
}
