import { mimeBundle } from './display.js'
import type { Output } from './output.js'
import type { Content } from './wire.js'

/** The outputs that cells show and update by name. */
export class Shown {
  readonly #output: Output
  readonly #rendering = new Map<string, { next?: { readonly value: unknown } }>()

  constructor(output: Output) {
    this.#output = output
  }

  /** An update while the last one of that name is still rendering replaces those that wait: charts skip frames. */
  show(value: unknown, { id, update }: { readonly id: string; readonly update: boolean }): void {
    const rendering = this.#rendering.get(id)
    if (update && rendering) {
      rendering.next = { value }
      return
    }
    const entry: { next?: { readonly value: unknown } } = {}
    this.#rendering.set(id, entry)
    const content = displayContent(value, id).finally(() => {
      this.#rendering.delete(id)
      if (entry.next) this.show(entry.next.value, { id, update: true })
    })
    this.#output.publishLater(update ? 'update_display_data' : 'display_data', content)
  }

  /** After an interrupt, which may have ended the rendering. */
  release(): void {
    this.#rendering.clear()
    this.#output.release()
  }
}

async function displayContent(value: unknown, id: string): Promise<Content> {
  return { data: await mimeBundle(value), metadata: {}, transient: { display_id: id } }
}
