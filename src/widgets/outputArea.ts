import { onInterrupt } from '../interrupt.js'
import { boxState } from './box.js'
import { fields, type Control } from './control.js'
import { isDisplayable, displaySymbol } from './display.js'
import { notebook } from './notebook.js'
import { picture } from './picture.js'
import { plainText } from './plainText.js'
import { Widget } from './widget.js'

/** A place inside a box for anything `display` can show. Charts are drawn here, not in the browser: they change without a
 * flicker, whatever the device does. */
export class OutputArea extends Widget {
  #next: readonly unknown[] | undefined
  #showing: Promise<void> | undefined
  #parts: Part[] = []
  /** An interrupt may have ended the rendering half-way. */
  readonly #unheard = onInterrupt(() => (this.#showing = undefined))

  constructor() {
    super(boxState('VBox', []))
  }

  /** Replaces the content; values may be promises. Of calls that come while one is rendering only the last is shown: a slider never lags.
   * @returns resolves when the area is up to date */
  show(...values: unknown[]): Promise<void> {
    this.#next = values
    return (this.#showing ??= this.#render())
  }

  clear(): void {
    void this.show()
  }

  override async drawn(): Promise<void> {
    await this.#showing
  }

  /** Removes the area with its content. */
  override close(): void {
    super.close()
    this.#unheard()
    for (const { widget } of this.#parts) widget.close()
  }

  async #render(): Promise<void> {
    try {
      for (let values; (values = this.#next);) {
        this.#next = undefined
        const bundles = await Promise.all(values.map(async value => bundle(await value)))
        const before = this.#parts
        this.#parts = bundles.map((data, i) => part(data, before[i]))
        if (this.#parts.length === before.length && this.#parts.every((part, i) => part === before[i])) continue
        this.set({ children: this.#parts.map(({ widget }) => widget) })
        for (const old of before) if (!this.#parts.includes(old)) old.widget.close()
      }
    } finally {
      this.#showing = undefined
    }
  }
}

export const outputArea = (): OutputArea => new OutputArea()

/** What shows one value: a picture, or any output. */
type Part = { kind: 'picture'; widget: Control<Uint8Array> } | { kind: 'output'; widget: Widget }

/** Shows a bundle in the given part, or in a new one where that is of the other kind. */
function part(data: Record<string, unknown>, before: Part | undefined): Part {
  const svg = data['image/svg+xml']
  if (typeof svg === 'string') {
    if (before?.kind !== 'picture') return { kind: 'picture', widget: picture(svg) }
    before.widget.value = Buffer.from(svg)
    return before
  }
  const outputs = [{ output_type: 'display_data', data, metadata: {} }]
  if (before?.kind !== 'output') return { kind: 'output', widget: output(outputs) }
  before.widget.set({ outputs })
  return before
}

function output(outputs: unknown[]): Widget {
  const from = { module: '@jupyter-widgets/output', version: '1.0.0' }
  return new Widget({ ...fields(from, 'OutputModel', 'OutputView'), msg_id: '', outputs })
}

async function bundle(value: unknown): Promise<Record<string, unknown>> {
  const shown = await notebook()?.bundle(value)
  return shown ?? (isDisplayable(value) ? value[displaySymbol]() : { 'text/plain': plainText(value) })
}
