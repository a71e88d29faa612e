import { parseArgs, type ParseArgsConfig } from 'node:util'

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
