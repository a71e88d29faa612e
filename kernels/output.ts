import type { Content, Header, Outgoing } from './wire.js'

type Broadcast = Omit<Outgoing, 'channel'>
export type Extra = Partial<Pick<Outgoing, 'parent' | 'metadata' | 'buffers'>>

type StreamName = 'stdout' | 'stderr'

/** Milliseconds and characters that stream output is gathered for: 100,000 lines become a few hundred messages. */
const GATHER_TIME = 25
const GATHER_LENGTH = 1 << 15

/** Everything cells print and show, in the order they did it, although a chart takes a while to render. */
export class Output {
  readonly #post: (message: Outgoing) => void
  readonly #parent: () => Header | undefined
  #queue: { message?: Broadcast }[] = []
  #stream: { name: StreamName; text: string; parent: Header | undefined; since: number } | undefined
  #idle: (() => void)[] = []

  /** @param parent the header of the request that output belongs to now */
  constructor(post: (message: Outgoing) => void, parent: () => Header | undefined) {
    this.#post = post
    this.#parent = parent
  }

  publish(type: string, content: Content, extra: Extra = {}): void {
    this.flush()
    this.#queue.push({ message: { type, content: JSON.stringify(content), parent: this.#parent(), ...extra } })
    this.#drain()
  }

  /** Keeps a place in the order for a message whose content is still being made. */
  publishLater(type: string, content: Promise<Content>): void {
    this.flush()
    const parent = this.#parent()
    const entry: { message?: Broadcast } = {}
    this.#queue.push(entry)
    void content
      .then(made => ({ type, content: JSON.stringify(made), parent }))
      .catch((error: unknown) => streamMessage('stderr', `display: ${String(error)}\n`, parent))
      .then(message => {
        entry.message = message
        if (this.#queue.includes(entry)) this.#drain()
        else this.#send(message)
      })
  }

  write(name: StreamName, text: string): void {
    const parent = this.#parent()
    if (this.#stream && (this.#stream.name !== name || this.#stream.parent !== parent)) this.flush()
    if (!this.#stream) {
      this.#stream = { name, text: '', parent, since: Date.now() }
      setTimeout(() => this.flush(), GATHER_TIME).unref()
    }
    this.#stream.text += text
    // A loop that never yields runs no timer.
    if (this.#stream.text.length > GATHER_LENGTH || Date.now() - this.#stream.since > GATHER_TIME) this.flush()
  }

  /** Sends the gathered text. */
  flush(): void {
    if (!this.#stream) return
    const { name, text, parent } = this.#stream
    this.#stream = undefined
    this.#queue.push({ message: streamMessage(name, text, parent) })
    this.#drain()
  }

  /** Resolves when all output so far has been sent. */
  settled(): Promise<void> {
    this.flush()
    return new Promise(resolve => {
      this.#idle.push(resolve)
      this.#drain()
    })
  }

  /** After an interrupt, which may have ended the making of a message: nothing waits for it any more. */
  release(): void {
    this.#queue = this.#queue.filter(({ message }) => message)
    this.#drain()
  }

  #drain(): void {
    for (let message; (message = this.#queue[0]?.message);) {
      this.#queue.shift()
      this.#send(message)
    }
    if (this.#queue.length === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  #send(message: Broadcast): void {
    this.#post({ channel: 'iopub', ...message })
  }
}

function streamMessage(name: StreamName, text: string, parent: Header | undefined): Broadcast {
  return { type: 'stream', content: JSON.stringify({ name, text }), parent }
}
