import { notebook } from './notebook.js'

/** Removes the outputs of the running cell. Outside a notebook it does nothing.
 * @param options.wait until the next output comes, which avoids a flicker */
export function clearOutput({ wait = false }: { readonly wait?: boolean } = {}): void {
  notebook()?.clearOutput(wait)
}
