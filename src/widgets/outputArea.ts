import { fields } from './control.js'
import { isDisplayable, displaySymbol } from './display.js'
import { notebook } from './notebook.js'
import { plainText } from './plainText.js'
import { Widget } from './widget.js'

/** A place inside a box for anything `display` can show. */
export class OutputArea extends Widget {
  #next: readonly unknown[] | undefined
  #showing: Promise<void> | undefined

  /** Replaces the content. Of calls that come while one is rendering only the last is shown: a slider never lags.
   * @returns resolves when the area is up to date */
  show(...values: unknown[]): Promise<void> {
    this.#next = values
    return (this.#showing ??= this.#render())
  }

  clear(): void {
    void this.show()
  }

  async #render(): Promise<void> {
    try {
      for (let values; (values = this.#next);) {
        this.#next = undefined
        const bundles = await Promise.all(values.map(bundle))
        this.set({ outputs: bundles.map(data => ({ output_type: 'display_data', data, metadata: {} })) })
      }
    } finally {
      this.#showing = undefined
    }
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
