import { randomUUID } from 'node:crypto'
import type { Comm } from '../src/widgets/notebook.js'
import type { Extra } from './output.js'
import type { Content, Message } from './wire.js'

type Publish = (type: string, content: Content, extra?: Extra) => void

/** The open channels between cells and views in the browser. */
export class Comms {
  readonly #comms = new Map<string, Comm & { readonly target: string }>()
  readonly #publish: Publish

  constructor(publish: Publish) {
    this.#publish = publish
  }

  open(target: string, data: Content, extra: Extra = {}): Comm {
    const id = randomUUID().replaceAll('-', '')
    const comm = {
      id,
      target,
      onMessage: undefined,
      onClose: undefined,
      send: (data: Content, buffers: readonly Uint8Array[] = []) =>
        this.#publish('comm_msg', { comm_id: id, data }, { buffers }),
      close: () => {
        if (this.#comms.delete(id)) this.#publish('comm_close', { comm_id: id, data: {} })
      },
    }
    this.#comms.set(id, comm)
    this.#publish('comm_open', { comm_id: id, target_name: target, data }, extra)
    return comm
  }

  /** Takes a comm message of the front end. It may open none: we have no targets. */
  receive({ header, content, buffers }: Message): void {
    const id = String(content['comm_id'])
    const comm = this.#comms.get(id)
    if (header.msg_type === 'comm_open') this.#publish('comm_close', { comm_id: id, data: {} })
    else if (header.msg_type === 'comm_msg') comm?.onMessage?.(content['data'] as Content, buffers)
    else {
      this.#comms.delete(id)
      comm?.onClose?.()
    }
  }

  /** @param target only those of this target */
  info(target: unknown): Record<string, { target_name: string }> {
    const chosen = [...this.#comms].filter(([, comm]) => target == null || comm.target === target)
    return Object.fromEntries(chosen.map(([id, comm]) => [id, { target_name: comm.target }]))
  }
}
