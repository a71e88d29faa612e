import { setImmediate } from 'node:timers/promises'
import type * as TypeScript from '@tslab/typescript-for-tslab'
import { Compiler, type Completion } from './compiler.js'
import { Modules, type Namespace } from './modules.js'

/** The state of a notebook: what its cells have declared, as types for the compiler and as values for the code. */
export class Cells {
  readonly #folder: string
  readonly #compiler: Compiler
  readonly #modules = new Modules()
  readonly #values: Namespace = {}
  #declarations = ''

  constructor(folder: string) {
    this.#folder = folder
    this.#compiler = new Compiler(folder)
  }

  /** Runs a cell.
   * @param name how stack traces call it
   * @param signal aborted before the code starts, it keeps it from starting
   * @returns the value of its last expression
   * @throws TypeScriptError before anything has run; whatever the code throws */
  async execute(code: string, name: string, signal?: AbortSignal): Promise<unknown> {
    const { module, files, declarations, result } = this.#compiler.compile(this.#declarations, code)
    this.#modules.update(files)
    await this.#modules.run(module, {
      file: name,
      text: code,
      folder: this.#folder,
      exports: this.#exports(),
      before: async () => {
        // What a cell has declared before it failed stays usable: a model that took minutes to load, an interrupted run.
        this.#declarations = declarations
        // V8 drops the pending microtasks of a terminated cell: let none of ours be among them.
        await setImmediate()
        signal?.throwIfAborted()
      },
    })
    if (result === undefined) return undefined
    const value = this.#values[result]
    delete this.#values[result]
    return value
  }

  /** The value of an expression, which may use all names but declares none. */
  async evaluate(expression: string): Promise<unknown> {
    const declarations = this.#declarations
    try {
      return await this.execute(expression, 'expression')
    } finally {
      this.#declarations = declarations
    }
  }

  /** @param position in UTF-16 units */
  complete(code: string, position: number): Completion {
    return this.#compiler.complete(this.#declarations, code, position)
  }

  /** @param position in UTF-16 units */
  inspect(code: string, position: number): TypeScript.QuickInfo | undefined {
    return this.#compiler.inspect(this.#declarations, code, position)
  }

  /** Lowered code defines re-exported imports as getters; as plain values they can be declared anew by a later cell. */
  #exports(): Namespace {
    return new Proxy(this.#values, {
      defineProperty: (values, name, { get, value }) => {
        if (name !== '__esModule') values[name as string] = get ? (get() as unknown) : (value as unknown)
        return true
      },
    })
  }
}
