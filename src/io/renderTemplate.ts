import { Environment, Interpreter, Template } from '@huggingface/jinja'
import { withinTime } from './withinTime.js'

/** What a template may do: each step counts 500, each text that it makes its length, each list 16 an entry. A conversation of a thousand turns takes some
 * millions. */
const MOST_WORK = 2 ** 29
const MOST_DEPTH = 500 // of calls and parts within one another: V8 ends a process that has no stack left for compiling a pattern
const SECONDS = 5

/** What a chat template makes of some values. Templates are programs of whoever made the model: this one reaches nothing but the values, and ends.
 * @throws Error of the template's own, or if it does not end, or makes too much */
export function renderTemplate({ parsed }: Template, values: Readonly<Record<string, unknown>>): string {
  const environment = new Scope()
  for (const [name, value] of Object.entries({ ...globals, ...values })) environment.set(name, value)
  return withinTime(1000 * SECONDS, 'the template', () => new Bounded(environment).run(parsed).value as string)
}

/** What is used of the package, whose own types do not resolve under Node's module rules. */
interface Evaluator {
  run(program: unknown): { value: unknown }
  evaluate(statement: unknown, environment: unknown): { value: unknown }
}

const Scope = Environment as unknown as new () => { set(name: string, value: unknown): void }
const Base = Interpreter as unknown as new (environment: object) => Evaluator

class Bounded extends Base {
  #work = 0
  #depth = 0

  override evaluate(statement: unknown, environment: unknown): { value: unknown } {
    if (++this.#depth > MOST_DEPTH) throw new Error('it does not end, or nests too deeply')
    const made = super.evaluate(statement, environment)
    this.#depth--
    const { value } = made ?? {}
    this.#work += 500 + (typeof value === 'string' ? value.length : Array.isArray(value) ? 16 * value.length : 0)
    if (this.#work > MOST_WORK) throw new Error('it does not end, or makes too much')
    return made
  }
}

/** What every template knows.
 * @source @huggingface/jinja 0.5.11, setupGlobals, which it does not export */
const globals = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  raise_exception(text: unknown) {
    throw new Error(String(text))
  },
  range(start: number, stop?: number, step = 1): number[] {
    const [from, to] = stop === undefined ? [0, start] : [start, stop]
    const length = Math.max(0, Math.ceil((to - from) / step))
    if (!(length <= 1e6)) throw new Error(`range() of ${length} numbers, needed at most a million`)
    return Array.from({ length }, (_, i) => from + i * step)
  },
  strftime_now: (format: string) => now.render({ format }),
}
const now = new Template('{{ strftime_now(format) }}')
