import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type * as TypeScript from '@tslab/typescript-for-tslab'
import type { Converter, ConvertResult } from 'tslab/dist/converter.js'
import { TypeScriptError } from './errors.js'
import { installation, isOwned, typeRoot } from './installation.js'
import { lower, type Lowered } from './lower.js'
import { ts } from './typescript.js'
import { uninterrupted } from './uninterrupted.js'

const require = createRequire(import.meta.url)

export interface Compiled {
  /** The cell. */
  readonly module: Lowered
  /** Local files it uses that are new or changed, by the path of their JavaScript. */
  readonly files: ReadonlyMap<string, Lowered>
  /** The types of all names that cells have declared up to and including this one. */
  readonly declarations: string
  /** The export that holds the value of the last expression. */
  readonly result: string | undefined
}

export interface Completion {
  readonly start: number
  readonly end: number
  readonly candidates: readonly string[]
  readonly kinds: ReadonlyMap<string, string>
}

/** tslab's incremental converter with a modern module system: package `exports`, `.ts` imports, top-level await. */
export class Compiler {
  readonly #converter: Converter
  readonly #changed: () => void

  /** @param folder the notebook's folder, where imports are resolved first */
  constructor(folder: string) {
    this.#changed = watchOnDemand()
    this.#converter = uninterrupted(() => createConverter(folder))
  }

  /** @param declarations those of the cells before
   * @throws TypeScriptError with every diagnostic of the cell and of the local files it uses */
  compile(declarations: string, code: string): Compiled {
    const converted = uninterrupted(() => {
      this.#changed()
      return this.#convert(declarations, withoutExport(code))
    })
    if (converted.diagnostics.length > 0) throw new TypeScriptError(code, converted.diagnostics)
    return {
      module: lower(converted.output ?? '', 1),
      files: new Map(converted.sideOutputs?.map(({ path, data }) => [path, lower(data)])),
      declarations: converted.declOutput ?? '',
      result: converted.lastExpressionVar,
    }
  }

  /** A type that cannot be written, as it has no name outside its module, cannot be declared to later cells: `any` is. */
  #convert(declarations: string, code: string): ConvertResult {
    const converted = this.#converter.convert(declarations, code)
    const unnameable = converted.diagnostics.filter(({ code, fileName }) => UNNAMEABLE.has(code) && !fileName)
    if (unnameable.length === 0 || unnameable.length < converted.diagnostics.length) return converted
    const again = this.#converter.convert(declarations, withAny(code, new Set(unnameable.map(({ end }) => end.offset))))
    return again.diagnostics.length === 0 ? again : converted
  }

  /** @param position in UTF-16 units */
  complete(declarations: string, code: string, position: number): Completion {
    const { start, end, candidates, original } = uninterrupted(() =>
      this.#converter.complete(declarations, code, position),
    )
    return { start, end, candidates, kinds: new Map(original?.entries.map(({ name, kind }) => [name, kind])) }
  }

  /** The signature and docstring of what stands at a position, or just before it. */
  inspect(declarations: string, code: string, position: number): TypeScript.QuickInfo | undefined {
    const at = (offset: number): TypeScript.QuickInfo | undefined => {
      const info = uninterrupted(() => this.#converter.inspect(declarations, code, offset))
      return info?.kind === ts.ScriptElementKind.unknown ? undefined : info // a name that is not there
    }
    return at(position) ?? (position > 0 ? at(position - 1) : undefined)
  }
}

/** Diagnostics on the name of a variable or function: its inferred type uses a private name, or is too long. */
const UNNAMEABLE = new Set([4023, 4024, 4025, 4058, 4059, 4060, 2527, 2742, 7056])

/** Blanks the word `export` at the top level: a cell exports all its names anyway. */
function withoutExport(code: string): string {
  if (!code.includes('export')) return code
  const { statements } = ts.createSourceFile('cell.ts', code, ts.ScriptTarget.ES2022, true)
  const words = statements.flatMap(statement => {
    const modifiers = ts.canHaveModifiers(statement) ? (ts.getModifiers(statement) ?? []) : []
    const [first, second] = modifiers.map(({ kind }) => kind)
    return first === ts.SyntaxKind.ExportKeyword && second !== ts.SyntaxKind.DefaultKeyword ? [modifiers[0]!] : []
  })
  return words.reduce((text, word) => text.slice(0, word.getStart()) + '      ' + text.slice(word.end), code)
}

/** Annotates the variables and functions whose names end at the given offsets as `any`. */
function withAny(code: string, ends: ReadonlySet<number>): string {
  const places = new Set<number>()
  const visit = (node: TypeScript.Node, declared?: TypeScript.VariableDeclaration): void => {
    if (ts.isVariableDeclaration(node)) declared = node
    else if (ts.isFunctionDeclaration(node) && node.name && ends.has(node.name.end))
      places.add(code.indexOf(')', node.parameters.end) + 1)
    else if (ts.isIdentifier(node) && declared && ends.has(node.end)) places.add(declared.name.end)
    ts.forEachChild(node, child => visit(child, declared))
  }
  visit(ts.createSourceFile('cell.ts', code, ts.ScriptTarget.ES2022))
  const backwards = [...places].sort((a, b) => b - a)
  return backwards.reduce((text, place) => `${text.slice(0, place)}: any${text.slice(place)}`, code)
}

/** Names every cell has without an import; the runtime puts the values on `globalThis`. */
const globals = `
import type * as widgets from 'rewardlab/widgets'
declare global {
  const display: typeof widgets.display
  const clearOutput: typeof widgets.clearOutput
  const input: typeof widgets.input
}`

function createConverter(folder: string): Converter {
  // tslab fixes its compiler options and its module resolution: it gets a copy of the compiler with ours.
  const path = require.resolve('@tslab/typescript-for-tslab')
  const altered: typeof ts = {
    ...ts,
    // The converter's last step is CommonJS, without a source map and with eager requires: `lower` does it instead.
    transpileModule: source => ({ outputText: source }),
    createWatchCompilerHost: ((roots: string[], given: TypeScript.CompilerOptions, ...rest: unknown[]) =>
      createHost(folder, roots, given, rest)) as typeof ts.createWatchCompilerHost,
  }
  require.cache[path]!.exports = altered
  const tslab = require('tslab/dist/converter.js') as typeof import('tslab/dist/converter.js')
  require.cache[path]!.exports = ts
  return tslab.createConverter({ isJS: false, isBrowser: false })
}

function createHost(folder: string, roots: string[], given: TypeScript.CompilerOptions, rest: unknown[]) {
  const options: TypeScript.CompilerOptions = {
    ...given,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    allowImportingTsExtensions: true,
    disableTopLevelAwait: false,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.esnext.d.ts'],
    typeRoots: [typeRoot],
    types: ['node'],
    inlineSourceMap: true,
  }
  const virtual = join(installation, 'kernels', 'globals.d.ts')
  const create = ts.createWatchCompilerHost as unknown as (
    roots: string[],
    options: TypeScript.CompilerOptions,
    ...rest: unknown[]
  ) => TypeScript.WatchCompilerHostOfFilesAndCompilerOptions<TypeScript.BuilderProgram>
  const host = create([...roots, virtual], options, ...rest)
  const { readFile, fileExists } = host
  host.readFile = (path, encoding) => (path === virtual ? globals : readFile.call(host, path, encoding))
  host.fileExists = path => path === virtual || fileExists.call(host, path)

  const cache = ts.createModuleResolutionCache(folder, path => path, options)
  const ours = join(installation, 'kernels', 'cell.ts')
  const resolve = (id: string, from: string) =>
    ts.resolveModuleName(id, from, options, host, from.endsWith('.d.ts') || from === ours ? cache : undefined)
  host.resolveModuleNameLiterals = (literals, from) =>
    literals.map(({ text }) => {
      const found = resolve(text, isOwned(text) ? ours : from)
      return found.resolvedModule || /^\.{0,2}\//.test(text) ? found : resolve(text, ours)
    })
  const { createProgram } = host
  host.createProgram = (...args) => withLongProperties(createProgram.apply(host, args))
  host.hasInvalidatedResolutions = path => !path.endsWith('.d.ts') // a missing import may exist by now
  return host
}

/** tslab reads names of earlier cells from `exports`, but overlooks them in `{ name }`: writes these as `{ name: exports.name }`. */
function withLongProperties<T extends TypeScript.BuilderProgram>(builder: T): T {
  const emit = builder.emit.bind(builder)
  builder.emit = (file, write, token, onlyDeclarations, transformers) => {
    const checker = builder.getProgram().getTypeChecker()
    const earlier = (node: TypeScript.ShorthandPropertyAssignment) =>
      checker
        .getShorthandAssignmentValueSymbol(node)
        ?.declarations?.some(declaration => declaration.getSourceFile().fileName.endsWith('/__prev__.d.ts'))
    const expand: TypeScript.TransformerFactory<TypeScript.SourceFile> = context => source => {
      const visit = (node: TypeScript.Node): TypeScript.Node => {
        if (!ts.isShorthandPropertyAssignment(node) || !earlier(node)) return ts.visitEachChild(node, visit, context)
        const value = ts.factory.createPropertyAccessExpression(ts.factory.createIdentifier('exports'), node.name.text)
        return ts.factory.createPropertyAssignment(node.name.text, value)
      }
      return ts.visitNode(source, visit) as TypeScript.SourceFile
    }
    const before = [...(transformers?.before ?? []), expand]
    return emit(file, write, token, onlyDeclarations, { ...transformers, before })
  }
  return builder
}

/** Replaces the compiler's polling of every file by a look at the user's own files before each cell: no idle work, and
 * an edited file is never stale. Returns the look. */
function watchOnDemand(): () => void {
  const watched = new Map<string, { readonly notify: TypeScript.FileWatcherCallback; modified: number }>()
  const modifiedAt = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
  ts.sys.watchFile = (path, notify) => {
    if (path.includes('/node_modules/') || path.startsWith(join(installation, 'dist'))) return { close: () => {} }
    const file = { notify, modified: modifiedAt(path) }
    watched.set(path, file)
    return { close: () => watched.get(path) === file && watched.delete(path) }
  }
  ts.sys.watchDirectory = () => ({ close: () => {} })
  return () => {
    for (const [path, file] of watched) {
      const modified = modifiedAt(path)
      if (modified === file.modified) continue
      file.modified = modified
      file.notify(path, modified === 0 ? ts.FileWatcherEventKind.Deleted : ts.FileWatcherEventKind.Changed)
    }
  }
}
