import { fields } from './control.js'
import { isDisplayable, displaySymbol } from './display.js'
import { notebook } from './notebook.js'
import { plainText } from './plainText.js'
import { Widget } from './widget.js'

/** A place inside a box for anything `display` can show. */
export class OutputArea extends Widget {
  #latest = 0

  /** Replaces the content; of calls that overlap the last one wins. */
  async show(...values: unknown[]): Promise<void> {
    const turn = ++this.#latest
    const bundles = await Promise.all(values.map(bundle))
    const outputs = bundles.map(data => ({ output_type: 'display_data', data, metadata: {} }))
    if (turn === this.#latest) this.set({ outputs })
  }

  clear(): void {
    void this.show()
  }
}

export function outputArea(): OutputArea {
  const from = { module: '@jupyter-widgets/output', version: '1.0.0' }
  return new OutputArea({ ...fields(from, 'OutputModel', 'OutputView'), msg_id: '', outputs: [] })
}

async function bundle(value: unknown): Promise<Record<string, unknown>> {
  const shown = await notebook()?.bundle(value)
  return shown ?? (isDisplayable(value) ? value[displaySymbol]() : { 'text/plain': plainText(value) })
}
