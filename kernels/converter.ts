import { statSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Converter } from 'tslab/dist/converter.js'
import ts from 'typescript'
import { installation, isOwned, typeRoot } from './installation.js'
import { quickInfo } from './quickInfo.js'

const require = createRequire(import.meta.url)

/** What tslab calls of its own build of TypeScript and the published one keeps to itself or lacks. */
interface Internals {
  readonly Completions: { readonly getCompletionsAtPosition: (...values: unknown[]) => ts.CompletionInfo | undefined }
}

/** tslab's incremental converter on this project's TypeScript in place of its own older build, with a modern module
 * system: package `exports`, `.ts` imports, top-level await.
 * @param folder the notebook's folder, where imports are resolved first
 * @returns the converter, and a look at the user's own files, to be taken before each use of it */
export function createConverter(folder: string): { readonly converter: Converter; readonly lookAtFiles: () => void } {
  const { watchers, lookAtFiles } = watchOnDemand()
  const { Completions } = ts as unknown as Internals
  // tslab fixes its compiler options and its module resolution: it gets a copy of the compiler with ours.
  const altered = {
    ...ts,
    sys: { ...ts.sys, ...watchers, getCurrentDirectory: () => folder },
    // The converter's last step is CommonJS, without a source map and with eager requires: `lower` does it instead.
    transpileModule: (source: string) => ({ outputText: source }),
    createWatchCompilerHost: (roots: string[], given: ts.CompilerOptions, ...rest: unknown[]) =>
      createHost(folder, roots, given, rest),
    getPreEmitDiagnosticsOfFiles: (program: ts.Program, files: readonly ts.SourceFile[]) =>
      ts.sortAndDeduplicateDiagnostics(files.flatMap(file => ts.getPreEmitDiagnostics(program, file))),
    getDefaultTypeRoots: () => [],
    getNullTransformationContext: () => undefined,
    getQuickInfoAtPosition: quickInfo,
    Completions: {
      getCompletionsAtPositionForTslab: (_host: unknown, program: ts.Program, ...rest: unknown[]) => {
        const options = program.getCompilerOptions()
        const host = { ...ts.createCompilerHost(options), getCompilationSettings: () => options }
        return Completions.getCompletionsAtPosition(host, program, ...rest)
      },
    },
  }
  const path = require.resolve('@tslab/typescript-for-tslab')
  require.cache[path] = Object.assign(new Module(path), { exports: altered, loaded: true })
  const tslab = require('tslab/dist/converter.js') as typeof import('tslab/dist/converter.js')
  return { converter: tslab.createConverter({ isJS: false, isBrowser: false }), lookAtFiles }
}

/** Names every cell has without an import; the runtime puts the values on `globalThis`. */
const globals = `
import type * as widgets from 'rewardlab/widgets'
declare global {
  const display: typeof widgets.display
  const clearOutput: typeof widgets.clearOutput
  const input: typeof widgets.input
}`

function createHost(folder: string, roots: string[], given: ts.CompilerOptions, rest: unknown[]) {
  const options: ts.CompilerOptions = {
    ...given,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    moduleDetection: ts.ModuleDetectionKind.Force, // a file without imports and exports is a module, too
    allowImportingTsExtensions: true,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.esnext.d.ts'],
    typeRoots: [typeRoot],
    types: ['node'],
    inlineSourceMap: true,
  }
  delete options['disableTopLevelAwait'] // unknown to this TypeScript
  delete options.noImplicitUseStrict
  const virtual = join(installation, 'kernels', 'globals.d.ts')
  const create = ts.createWatchCompilerHost as unknown as (
    roots: string[],
    options: ts.CompilerOptions,
    ...rest: unknown[]
  ) => ts.WatchCompilerHostOfFilesAndCompilerOptions<ts.BuilderProgram>
  const host = create([...roots, virtual], options, ...rest)
  const { readFile, fileExists } = host
  host.readFile = (path, encoding) => {
    const text = path === virtual ? globals : readFile.call(host, path, encoding)
    return path.endsWith(CELL) ? text?.replace(/\nexport \{.*\}$/, unescaped) : text
  }
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
  host.createProgram = (...args) => withoutRewriting(createProgram.apply(host, args))
  host.hasInvalidatedResolutions = path => !path.endsWith('.d.ts') // a missing import may exist by now
  return host
}

/** What tslab calls the cell. */
const CELL = '/__tslab__.ts'

/** In the list of exports that tslab adds to a cell, names like `__dirname` have TypeScript's escape: one underscore more. */
const unescaped = (list: string): string => list.replace(/(?<=[{ ])_(?=__)/g, '')

/** tslab would write names of earlier cells and the last expression in its own way: `lower` and `returnLast` do it. */
function withoutRewriting<T extends ts.BuilderProgram>(builder: T): T {
  const emit = builder.emit.bind(builder)
  builder.emit = (file, write, token, onlyDeclarations, transformers) => {
    const before = file?.fileName.endsWith(CELL) ? [returnLast] : []
    return emit(file, write, token, onlyDeclarations, { ...transformers, before, after: [] })
  }
  return builder
}

/** Makes a cell return its last expression. */
const returnLast: ts.TransformerFactory<ts.SourceFile> = () => file => {
  const statements = file.statements.map(statement =>
    ts.isExportAssignment(statement) ? ts.factory.createExpressionStatement(statement.expression) : statement,
  )
  const last = statements.findLastIndex(statement => !ts.isExportDeclaration(statement))
  const statement = statements[last]
  if (statement && ts.isExpressionStatement(statement))
    statements[last] = ts.setTextRange(ts.factory.createReturnStatement(statement.expression), statement)
  return ts.factory.updateSourceFile(file, statements)
}

/** Takes the place of the compiler's polling of every file: a look at the user's own files before each cell. No idle
 * work, and an edited file is never stale. */
function watchOnDemand(): { watchers: Pick<ts.System, 'watchFile' | 'watchDirectory'>; lookAtFiles: () => void } {
  const watched = new Map<string, { readonly notify: ts.FileWatcherCallback; modified: number }>()
  const modifiedAt = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return {
    watchers: {
      watchFile: (path, notify) => {
        if (path.includes('/node_modules/') || path.startsWith(join(installation, 'dist'))) return { close: () => {} }
        watched.set(path, { notify, modified: watched.get(path)?.modified ?? modifiedAt(path) })
        return { close: () => {} } // a later cell may import it again
      },
      watchDirectory: () => ({ close: () => {} }),
    },
    lookAtFiles: () => {
      for (const [path, file] of watched) {
        const modified = modifiedAt(path)
        if (modified === file.modified) continue
        file.modified = modified
        file.notify(path, modified === 0 ? ts.FileWatcherEventKind.Deleted : ts.FileWatcherEventKind.Changed)
      }
    },
  }
}
