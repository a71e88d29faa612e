import { setImmediate } from 'node:timers/promises'
import type ts from 'typescript'
import { Compiler, type Completion, type Declared } from './compiler.js'
import { Modules, type Namespace } from './modules.js'

/** The state of a notebook: what its cells have declared, as types for the compiler and as values for the code. */
export class Cells {
  readonly #folder: string
  readonly #compiler: Compiler
  readonly #modules = new Modules()
  readonly #scope: Namespace = {}
  #declared: Declared = { types: '', names: new Set() }

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
    const { module, files, declared } = this.#compiler.compile(this.#declared, code)
    this.#modules.update(files)
    return this.#modules.run(module, {
      file: name,
      text: code,
      folder: this.#folder,
      exports: this.#scope,
      before: async () => {
        // What a cell has declared before it failed stays usable: a model that took minutes to load, an interrupted run.
        this.#declared = declared
        // V8 drops the pending microtasks of a terminated cell: let none of ours be among them.
        await setImmediate()
        signal?.throwIfAborted()
      },
    })
  }

  /** The value of an expression, which may use all names but declares none. */
  async evaluate(expression: string): Promise<unknown> {
    const declared = this.#declared
    try {
      return await this.execute(expression, 'expression')
    } finally {
      this.#declared = declared
    }
  }

  /** @param position in UTF-16 units */
  complete(code: string, position: number): Completion {
    return this.#compiler.complete(this.#declared, code, position)
  }

  /** @param position in UTF-16 units */
  inspect(code: string, position: number): ts.QuickInfo | undefined {
    return this.#compiler.inspect(this.#declared, code, position)
  }
}
