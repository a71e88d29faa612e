import { readFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import vm from 'node:vm'
import { impatiently } from '../src/interrupt.js'
import { registerSource } from './errors.js'
import { isOwned } from './installation.js'
import { parameters, type Lowered } from './lower.js'
import { uninterruptedAsync } from './uninterrupted.js'

export type Namespace = Record<string, unknown>

interface RunOptions {
  readonly file: string
  readonly folder: string
  readonly exports: Namespace
  readonly text?: string
  readonly before?: () => Promise<void>
}

/** What the modules that cells import are, at run time. Everything is loaded before the code that needs it runs, so
 * ES modules (even with top-level await) can stand behind the synchronous `require` of lowered code. */
export class Modules {
  readonly #files = new Map<string, Lowered>()
  readonly #loaded = new Map<string, Promise<Namespace>>()
  readonly #running = new Map<string, Namespace>()

  /** New texts of local files; they and all files that import them will be loaded afresh. */
  update(files: ReadonlyMap<string, Lowered>): void {
    const stale = [...files.keys()]
    for (const [path, file] of files) this.#files.set(path, file)
    for (const path of stale) {
      this.#loaded.delete(path)
      for (const [user, { imports }] of this.#files)
        if (this.#loaded.has(user) && imports.some(id => this.#local(id, dirname(user)) === path)) stale.push(user)
    }
  }

  /** Runs lowered code once its imports are there.
   * @param file the name in stack traces
   * @param text what the user wrote
   * @param before called last, just before the code starts
   * @returns what the code returns */
  async run({ code, imports, origin }: Lowered, { file, text, folder, exports, before }: RunOptions): Promise<unknown> {
    const needed = new Map<string, Namespace>()
    for (const id of imports) needed.set(id, interop(await this.#load(id, folder)))
    const fallback = createRequire(join(folder, 'cell.js'))
    registerSource(file, { origin, text })
    const start = vm.runInThisContext(`(async function (${parameters.join(', ')}) { 'use strict'\n${code}\n})`, {
      filename: file,
      lineOffset: -1,
    }) as (...values: unknown[]) => Promise<unknown>
    await before?.()
    const meta = {
      url: pathToFileURL(join(folder, 'cell.ts')).href,
      dirname: folder,
      filename: join(folder, 'cell.ts'),
    }
    const require = (id: string) => needed.get(id) ?? (fallback(id) as unknown)
    return impatiently(() => start(exports, exports, require, (id: unknown) => this.#load(String(id), folder), meta))
  }

  async #load(id: string, folder: string): Promise<Namespace> {
    const local = this.#local(id, folder)
    if (local !== undefined) return this.#running.get(local) ?? this.#loadFile(local)
    if (!isRelative(id)) return uninterruptedAsync(() => importPackage(id, folder)) // a module half evaluated stays so
    const path = resolve(folder, id)
    if (path.endsWith('.json')) return { default: JSON.parse(readFileSync(path, 'utf8')) as unknown }
    return importFrom(folder)(pathToFileURL(path).href)
  }

  #loadFile(path: string): Promise<Namespace> {
    const loading = this.#loaded.get(path) ?? this.#runFile(path)
    this.#loaded.set(path, loading)
    loading.catch(() => this.#loaded.delete(path))
    return loading
  }

  async #runFile(path: string): Promise<Namespace> {
    const exports: Namespace = {}
    this.#running.set(path, exports) // a circular import sees what is there so far
    try {
      const module = this.#files.get(path)!
      await this.run(module, { file: join(dirname(path), module.source), folder: dirname(path), exports })
    } finally {
      this.#running.delete(path)
    }
    return exports
  }

  /** The JavaScript path of a file the compiler has emitted. */
  #local(id: string, folder: string): string | undefined {
    if (!isRelative(id)) return undefined
    const stem = resolve(folder, id).replace(/\.tsx?$/, '.js')
    return [stem, `${stem}.js`, join(stem, 'index.js')].find(path => this.#files.has(path))
  }
}

const isRelative = (id: string): boolean => /^\.{1,2}(\/|$)/.test(id) || isAbsolute(id)

// Node warns once that the loader used below is experimental: nothing a notebook's reader could act on.
const { emitWarning } = process
process.emitWarning = (warning: string | Error, ...rest: unknown[]) => {
  if (!String(warning).includes('USE_MAIN_CONTEXT_DEFAULT_LOADER'))
    Reflect.apply(emitWarning, process, [warning, ...rest])
}

/** `import()` as a file of `folder` would do it. */
const importFrom = (folder: string): ((id: string) => Promise<Namespace>) =>
  vm.runInThisContext('id => import(id)', {
    filename: join(folder, 'cell.mjs'),
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  }) as (id: string) => Promise<Namespace>

/** `import()` as this installation does it. */
const importOwn = (id: string): Promise<Namespace> => import(id) as Promise<Namespace>

/** The notebook's own packages first, then the installation's. */
async function importPackage(id: string, folder: string): Promise<Namespace> {
  if (isOwned(id) || isBuiltin(id)) return importOwn(id)
  const unlessMissing = (error: unknown) => {
    if (!isMissing(error, id)) throw error
  }
  const found = (await importFrom(folder)(id).catch(unlessMissing)) ?? (await importOwn(id).catch(unlessMissing))
  if (found) return found
  const name = id.split('/', id.startsWith('@') ? 2 : 1).join('/')
  throw new Error(`import '${id}': no such package in or above ${folder}. Run \`npm install ${name}\` there.`)
}

function isMissing(error: unknown, id: string): boolean {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'ERR_MODULE_NOT_FOUND' && message.includes(`'${id.split('/')[0]}`)
}

const interops = new WeakMap<Namespace, Namespace>()

/** A namespace as lowered code expects it: marked as an ES module; a CommonJS one also offers the properties of its
 * exports that Node could not name. The same namespace gives the same object in all cells. */
function interop(namespace: Namespace): Namespace {
  const known = interops.get(namespace)
  if (known) return known
  const whole = namespace['default']
  const inner = whole instanceof Object ? (whole as Namespace) : {}
  const marked = Object.create(null, { __esModule: { value: true } }) as Namespace
  const result =
    namespace['__esModule'] !== true
      ? Object.assign(marked, inner, namespace)
      : inner['__esModule'] === true
        ? inner
        : namespace
  interops.set(namespace, result)
  return result
}
