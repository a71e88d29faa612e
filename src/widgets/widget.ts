import { randomUUID } from 'node:crypto'
import { displaySymbol, type Displayable } from './display.js'
import { notebook, type Comm } from './notebook.js'
import { plainText } from './plainText.js'

export type WidgetState = Record<string, unknown>

/** A model of Jupyter's widgets: state that its views in the browser share. Values may be other widgets and bytes, at any
 * depth. Callbacks run while a cell is idle or awaits. In a plain program it is just the state.
 * @source https://github.com/jupyter-widgets/ipywidgets/blob/main/packages/schema/messages.md, version 2.1.0 */
export class Widget implements Displayable {
  readonly id: string
  readonly #state: WidgetState
  readonly #comm: Comm | undefined
  readonly #listeners = new Map<string, Set<(value: unknown) => void>>()
  readonly #messageListeners = new Set<(content: WidgetState) => void>()

  /** @param state the model's fields under their protocol names, `_model_name` and the like included */
  constructor(state: WidgetState) {
    this.#state = { ...state }
    const { data, buffers } = pack(this.#state)
    this.#comm = notebook()?.openComm('jupyter.widget', data, { metadata: { version: '2.1.0' }, buffers })
    this.id = this.#comm?.id ?? randomUUID()
    if (this.#comm) this.#comm.onMessage = (data, buffers) => this.#receive(data, buffers)
  }

  get(name: string): unknown {
    return this.#state[name]
  }

  /** Changes fields here and in the views; those that have the value already are passed over. */
  set(fields: WidgetState): void {
    const changes = Object.fromEntries(
      Object.entries(fields).filter(([name, value]) => !Object.is(this.#state[name], value)),
    )
    if (Object.keys(changes).length === 0) return
    this.#send('update', changes)
    this.#take(changes)
  }

  /** Calls `listener` with each new value of a field, whoever sets it.
   * @returns a function that ends it */
  on(name: string, listener: (value: unknown) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener))
    return () => void listeners.delete(listener)
  }

  /** Calls `listener` with each message of a view, such as a click.
   * @returns a function that ends it */
  onMessage(listener: (content: WidgetState) => void): () => void {
    this.#messageListeners.add(listener)
    return () => void this.#messageListeners.delete(listener)
  }

  /** Removes the views. */
  close(): void {
    this.#comm?.close()
  }

  /** Resolves when what it shows is drawn: only then is it put out, so that a notebook run without a browser keeps it. */
  async drawn(): Promise<void> {
    const { children } = this.#state
    if (Array.isArray(children)) await Promise.all(children.map(child => (child as Widget).drawn()))
  }

  async [displaySymbol](): Promise<Record<string, unknown>> {
    await this.drawn()
    const view = { version_major: 2, version_minor: 0, model_id: this.id }
    return {
      'text/plain': this.#text() || String(this.#state['_model_name']),
      'application/vnd.jupyter.widget-view+json': view,
    }
  }

  /** For front ends without widgets: a box by its children, others by label and value; empty for pictures and outputs. */
  #text(): string {
    const { children, description, value } = this.#state
    if (Array.isArray(children))
      return children
        .map(child => (child as Widget).#text())
        .filter(Boolean)
        .join('\n')
    const shown = value === undefined || value instanceof Uint8Array ? '' : plainText(value)
    return [description, shown].filter(Boolean).join(': ')
  }

  #receive({ method, state, buffer_paths, content }: WidgetState, buffers: readonly Uint8Array[]): void {
    if (method === 'update') {
      const changes = unpack(state as WidgetState, buffer_paths as Path[], buffers)
      this.#send('echo_update', changes) // to other views of the same notebook
      this.#take(changes)
    } else if (method === 'request_state') this.#send('update', this.#state)
    else if (method === 'custom') for (const listener of this.#messageListeners) listener(content as WidgetState)
  }

  #take(changes: WidgetState): void {
    for (const [name, value] of Object.entries(changes)) {
      if (Object.is(this.#state[name], value)) continue
      this.#state[name] = value
      for (const listener of this.#listeners.get(name) ?? []) listener(value)
    }
  }

  #send(method: string, state: WidgetState): void {
    const { data, buffers } = pack(state)
    this.#comm?.send({ method, ...data }, buffers)
  }
}

type Path = (string | number)[]

/** State → what a message carries: widgets by name, bytes apart with the paths where they belong. */
function pack(state: WidgetState): { data: WidgetState; buffers: Uint8Array[] } {
  const buffer_paths: Path[] = []
  const buffers: Uint8Array[] = []
  const walk = (value: unknown, path: Path): unknown => {
    if (value instanceof Widget) return `IPY_MODEL_${value.id}`
    if (value instanceof Uint8Array) {
      buffer_paths.push(path)
      buffers.push(value)
      return null
    }
    if (Array.isArray(value)) return value.map((item, i) => walk(item, [...path, i]))
    if (value === null || typeof value !== 'object') return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, [...path, key])]))
  }
  return { data: { state: walk(state, []), buffer_paths }, buffers }
}

function unpack(state: WidgetState, paths: readonly Path[] = [], buffers: readonly Uint8Array[]): WidgetState {
  paths.forEach((path, i) => {
    const parent = path.slice(0, -1).reduce<WidgetState>((inner, key) => inner[key] as WidgetState, state)
    parent[path.at(-1)!] = buffers[i]
  })
  return state
}
