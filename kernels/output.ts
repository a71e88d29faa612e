import type { FromRuntime, StreamName } from './threads.js'
import type { Content, Header, Outgoing } from './wire.js'

export type Extra = Partial<Pick<Outgoing, 'parent' | 'metadata' | 'buffers'>>

/** Everything cells print and show, in the order they did it, although a chart takes a while to render. */
export class Output {
  readonly #post: (message: FromRuntime) => void
  readonly #parent: () => Header | undefined
  #queue: { message?: FromRuntime }[] = []
  #waiting: (() => void)[] = []

  /** @param parent the header of the request that output belongs to now */
  constructor(post: (message: FromRuntime) => void, parent: () => Header | undefined) {
    this.#post = post
    this.#parent = parent
  }

  write(name: StreamName, text: string): void {
    this.#add({ message: { name, text, parent: this.#parent() } })
  }

  publish(type: string, content: Content, extra: Extra = {}): void {
    this.#add({
      message: { channel: 'iopub', type, content: JSON.stringify(content), parent: this.#parent(), ...extra },
    })
  }

  /** Keeps a place in the order for a message whose content is still being made. */
  publishLater(type: string, content: Promise<Content>): void {
    const parent = this.#parent()
    const entry: { message?: FromRuntime } = {}
    this.#add(entry)
    void content
      .then((made): FromRuntime => ({ channel: 'iopub', type, content: JSON.stringify(made), parent }))
      .catch((error: unknown): FromRuntime => ({ name: 'stderr', text: `display: ${String(error)}\n`, parent }))
      .then(message => {
        entry.message = message
        if (this.#queue.includes(entry)) this.#drain()
        else this.#post(message)
      })
  }

  /** Resolves when all output so far has been sent. */
  settled(): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.push(resolve)
      this.#drain()
    })
  }

  /** After an interrupt, which may have ended the making of a message: nothing waits for it any more. */
  release(): void {
    this.#queue = this.#queue.filter(({ message }) => message)
    this.#drain()
  }

  #add(entry: { message?: FromRuntime }): void {
    this.#queue.push(entry)
    this.#drain()
  }

  #drain(): void {
    for (let message; (message = this.#queue[0]?.message);) {
      this.#queue.shift()
      this.#post(message)
    }
    if (this.#queue.length === 0) for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
