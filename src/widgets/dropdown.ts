import { Control } from './control.js'

/** One of several texts, by default the first.
 * @throws if there is none, or the value is not among them */
export function dropdown({
  label = '',
  options,
  value = options[0],
}: {
  readonly label?: string
  readonly options: readonly string[]
  readonly value?: string
}): Control<string> {
  return new Dropdown(label, options, value)
}

/** The protocol has the index of the choice. */
class Dropdown extends Control<string> {
  readonly #options: readonly string[]

  constructor(label: string, options: readonly string[], value: string | undefined) {
    super('Dropdown', { description: label, _options_labels: options, index: indexOf(options, value) })
    this.#options = options
  }

  override get value(): string {
    return this.#options[Number(this.get('index'))]!
  }
  override set value(value: string) {
    this.set({ index: indexOf(this.#options, value) })
  }

  override onChange(listener: (value: string) => void): () => void {
    return this.on('index', () => listener(this.value))
  }
}

function indexOf(options: readonly string[], value: string | undefined): number {
  const index = options.findIndex(option => option === value)
  if (index >= 0) return index
  throw new Error(`dropdown: value is ${JSON.stringify(value)}, needed one of options. Use ${options.join(', ')}.`)
}
