import { randomUUID } from 'node:crypto'
import { notebook } from './notebook.js'
import { plainText } from './plainText.js'

/** A convention of Deno's kernel: an object with this method is shown as the MIME bundle it returns. */
export const displaySymbol: unique symbol = Symbol.for('Jupyter.display') as never

export interface Displayable {
  [displaySymbol](): Record<string, unknown> | Promise<Record<string, unknown>>
}

/** An output that can be replaced. As the last expression of a cell it shows nothing more. */
export interface DisplayHandle extends Displayable {
  readonly id: string
  /** Shows another value in the same place. Calls that come faster than a chart renders skip to the last one. */
  update(value: unknown): void
}

/** Shows a value as an output of the running cell: a vega-lite spec as a chart, an arquero table as a table, pixels
 * `{ data, width, height }` (RGBA) and PNG or JPEG bytes as an image, a {@link Displayable} as it says, anything else
 * as text. Outside a notebook it prints the text.
 * @param options.id names the output; by default a new name */
export function display(value: unknown, { id = randomUUID() }: { readonly id?: string } = {}): DisplayHandle {
  show(value, id, false)
  return handle(id)
}

/** An output that shows nothing until its first `update`. */
export function newDisplay(): DisplayHandle {
  let shown = false
  const id = randomUUID()
  return {
    ...handle(id),
    update: value => {
      show(value, id, shown)
      shown = true
    },
  }
}

function handle(id: string): DisplayHandle {
  return { id, update: value => show(value, id, true), [displaySymbol]: () => ({}) }
}

function show(value: unknown, id: string, update: boolean): void {
  const shown = notebook()
  if (shown) shown.show(value, { id, update })
  else void print(value)
}

async function print(value: unknown): Promise<void> {
  const bundle = isDisplayable(value) ? await value[displaySymbol]() : { 'text/plain': plainText(value) }
  const text = bundle['text/plain']
  if (text !== undefined) process.stdout.write(`${plainText(text)}\n`)
}

export const isDisplayable = (value: unknown): value is Displayable =>
  typeof (value as Displayable | null | undefined)?.[displaySymbol] === 'function'
