import { createInterface } from 'node:readline/promises'
import { notebook } from './notebook.js'

/** Asks the user for a line of text: below the running cell in a notebook, on the terminal elsewhere.
 * @param options.password hides what is typed (in a notebook)
 * @throws Error when the notebook's front end takes no input, as in a headless run */
export async function input(prompt = '', { password = false }: { readonly password?: boolean } = {}): Promise<string> {
  const asked = notebook()?.input(prompt, password)
  if (asked) return asked
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return await terminal.question(prompt)
  } finally {
    terminal.close()
  }
}
