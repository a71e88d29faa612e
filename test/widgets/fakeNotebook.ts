import type { Comm, Notebook } from '../../src/widgets/notebook.js'

export type State = Record<string, unknown>

/** A notebook that records what it is told, and plays the browser. */
export class FakeNotebook implements Notebook {
  readonly opened: { id: string; state: State; paths: unknown; buffers: readonly Uint8Array[] }[] = []
  readonly sent: { id: string; data: State; buffers: readonly Uint8Array[] }[] = []
  readonly shown: { value: unknown; update: boolean; id: string }[] = []
  readonly closed: string[] = []
  readonly #comms = new Map<string, Comm>()

  show: Notebook['show'] = (value, options) => void this.shown.push({ value, ...options })
  bundle = (value: unknown): Promise<State> => Promise.resolve({ 'text/plain': value })
  clearOutput = () => {}
  input = () => Promise.resolve('')

  openComm(_target: string, data: State, { buffers = [] }: { readonly buffers?: readonly Uint8Array[] } = {}): Comm {
    const id = `comm${this.opened.length}`
    this.opened.push({ id, state: data['state'] as State, paths: data['buffer_paths'], buffers })
    const send = (data: State, buffers: readonly Uint8Array[] = []) => void this.sent.push({ id, data, buffers })
    const comm: Comm = { id, onMessage: undefined, onClose: undefined, send, close: () => void this.closed.push(id) }
    this.#comms.set(id, comm)
    return comm
  }

  /** The widgets of a model, by the name without "Model". */
  widgets(name: string): string[] {
    return this.opened.filter(({ state }) => state['_model_name'] === `${name}Model`).map(({ id }) => id)
  }

  /** What a widget's field was set to, one after the other. */
  values(id: string, field: string): unknown[] {
    const states = this.sent.filter(message => message.id === id).map(({ data }) => data['state'] as State)
    return states.filter(state => field in state).map(state => state[field])
  }

  receive(id: string, data: State, buffers: readonly Uint8Array[] = []): void {
    this.#comms.get(id)!.onMessage!(data, buffers)
  }
}
