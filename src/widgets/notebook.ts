/** A channel to a view in the browser, over Jupyter's comm messages. */
export interface Comm {
  readonly id: string
  /** Set to receive what the view sends. */
  onMessage: ((data: Record<string, unknown>, buffers: readonly Uint8Array[]) => void) | undefined
  onClose: (() => void) | undefined
  send(data: Record<string, unknown>, buffers?: readonly Uint8Array[]): void
  close(): void
}

/** What a Jupyter kernel offers to the code of its cells. */
export interface Notebook {
  /** Shows a value as an output of the running cell.
   * @param id names the output, so that `update` can replace its content */
  show(value: unknown, options: { readonly id: string; readonly update: boolean }): void
  /** How a value is shown, by MIME type. */
  bundle(value: unknown): Promise<Record<string, unknown>>
  clearOutput(wait: boolean): void
  /** Asks the user for a line. */
  input(prompt: string, password: boolean): Promise<string>
  openComm(
    target: string,
    data: Record<string, unknown>,
    options?: { readonly metadata?: Record<string, unknown>; readonly buffers?: readonly Uint8Array[] },
  ): Comm
}

const key = Symbol.for('rewardlab.notebook')
type Registry = { [key]?: Notebook | undefined }

/** The notebook this code runs in; undefined in a plain program. */
export const notebook = (): Notebook | undefined => (globalThis as Registry)[key]

/** Called by the kernel when it starts. */
export function setNotebook(value: Notebook | undefined): void {
  ;(globalThis as Registry)[key] = value
}
