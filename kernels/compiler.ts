import type { Converter, ConvertResult } from 'tslab/dist/converter.js'
import ts from 'typescript'
import { createConverter } from './converter.js'
import { TypeScriptError } from './errors.js'
import { modules } from './installation.js'
import { lowerCell, lowerFile, type Lowered } from './lower.js'
import { syntaxErrors } from './syntaxErrors.js'
import { uninterrupted } from './uninterrupted.js'

/** What the cells of a notebook have declared. */
export interface Declared {
  /** Types, as the text of a declaration file. */
  readonly types: string
  /** Values. */
  readonly names: ReadonlySet<string>
}

export interface Compiled {
  /** The cell. */
  readonly module: Lowered
  /** Local files it uses that are new or changed, by the path of their JavaScript. */
  readonly files: ReadonlyMap<string, Lowered>
  /** By all cells up to and including this one. */
  readonly declared: Declared
}

export interface Completion {
  readonly start: number
  readonly end: number
  readonly candidates: readonly string[]
  readonly kinds: ReadonlyMap<string, string>
}

/** Turns cells into JavaScript, type-checked against the cells before, and answers questions about their names. */
export class Compiler {
  readonly #converter: Converter
  readonly #lookAtFiles: () => void

  /** @param folder the notebook's folder, where imports are resolved first */
  constructor(folder: string) {
    const { converter, lookAtFiles } = uninterrupted(() => createConverter(folder))
    this.#converter = converter
    this.#lookAtFiles = lookAtFiles
  }

  /** @param declared by the cells before
   * @throws TypeScriptError with every diagnostic of the cell and of the local files it uses; of a cell that cannot be parsed, what keeps
   * it from that */
  compile({ types, names }: Declared, code: string): Compiled {
    const unparsed = syntaxErrors(code)
    if (unparsed.length > 0) throw new TypeScriptError(code, unparsed)
    const converted = uninterrupted(() => {
      this.#lookAtFiles()
      return this.#convert(types, withoutExport(code))
    })
    if (converted.diagnostics.length > 0) throw new TypeScriptError(code, converted.diagnostics)
    const module = lowerCell(converted.output ?? '', names, 1)
    return {
      module,
      files: new Map(converted.sideOutputs?.map(({ path, data }) => [path, lowerFile(data)])),
      declared: {
        types: (converted.declOutput ?? '') + namespacesOf(types, new Set(module.names)),
        names: new Set([...names, ...module.names]),
      },
    }
  }

  /** A type that cannot be written, as it has no name outside its module, cannot be declared to later cells: `any` is. */
  #convert(types: string, code: string): ConvertResult {
    const converted = this.#converter.convert(types, code)
    const unnameable = converted.diagnostics.filter(({ code, fileName }) => UNNAMEABLE.has(code) && !fileName)
    if (unnameable.length === 0 || unnameable.length < converted.diagnostics.length) return converted
    const again = this.#converter.convert(types, withAny(code, new Set(unnameable.map(({ end }) => end.offset))))
    return again.diagnostics.length === 0 ? again : converted
  }

  /** @param position in UTF-16 units */
  complete({ types }: Declared, code: string, position: number): Completion {
    const { start, end, candidates, original } = uninterrupted(() => this.#converter.complete(types, code, position))
    const kinds = new Map<string, string>(original?.entries.map(({ name, kind }) => [name, kind]))
    const specifier = /\b(?:from|import)[\s(]*['"]([^'"]*)$/.exec(code.slice(0, position))?.[1]
    return specifier === undefined
      ? { start, end, candidates, kinds }
      : { ...specifierAt(code, position, specifier, candidates), kinds }
  }

  /** The signature and docstring of what stands at a position, or just before it. */
  inspect({ types }: Declared, code: string, position: number): ts.QuickInfo | undefined {
    const at = (offset: number): ts.QuickInfo | undefined =>
      uninterrupted(() => this.#converter.inspect(types, code, offset))
    return at(position) ?? (position > 0 ? at(position - 1) : undefined)
  }
}

/** Completes the last part of a module specifier: names of packages and files that the compiler knows, and our modules.
 * @param specifier what stands before the position */
function specifierAt(code: string, position: number, specifier: string, candidates: readonly string[]) {
  const folder = specifier.slice(0, specifier.lastIndexOf('/') + 1)
  const ours = modules.map(name => `rewardlab/${name}`).filter(id => id.startsWith(folder))
  const names = new Set([
    ...candidates.filter(name => !name.startsWith('.')),
    ...ours.map(id => id.slice(folder.length)),
  ])
  const rest = /^[\w.-]*/.exec(code.slice(position))![0]
  return { start: position - specifier.length + folder.length, end: position + rest.length, candidates: [...names] }
}

/** Diagnostics on the name of a variable or function: its inferred type uses a private name, or is too long. */
const UNNAMEABLE = new Set([4023, 4024, 4025, 4058, 4059, 4060, 2527, 2742, 7056])

/** Blanks the words `export` and `default` of top-level declarations with a name, and lists of exports: all names of a cell are known
 * outside. `export … from` becomes an import. */
function withoutExport(code: string): string {
  if (!code.includes('export')) return code
  const { statements } = ts.createSourceFile('cell.ts', code, ts.ScriptTarget.ES2022, true)
  return statements.reduce((text, statement) => {
    const replace = (node: ts.Node, by: string) => text.slice(0, node.getStart()) + by + text.slice(node.end)
    if (ts.isExportDeclaration(statement)) {
      if (!statement.moduleSpecifier) return replace(statement, statement.getText().replace(/\S/g, ' '))
      return statement.exportClause ? replace(statement, statement.getText().replace('export', 'import')) : text
    }
    if (!ts.canHaveModifiers(statement) || ('name' in statement && !statement.name)) return text
    for (const word of ts.getModifiers(statement) ?? [])
      if (EXPORT.has(word.kind)) text = replace(word, ' '.repeat(word.getWidth()))
    return text
  }, code)
}

const EXPORT = new Set([ts.SyntaxKind.ExportKeyword, ts.SyntaxKind.DefaultKeyword])

/** The namespaces among earlier declarations that are not declared anew: tslab leaves them out. */
function namespacesOf(types: string, anew: ReadonlySet<string>): string {
  if (!types.includes('namespace')) return ''
  const { statements } = ts.createSourceFile('cell.d.ts', types, ts.ScriptTarget.ES2022, true)
  const kept = statements.filter(statement => ts.isModuleDeclaration(statement) && !anew.has(statement.name.text))
  return kept.map(namespace => `${namespace.getText()}\n`).join('')
}

/** Annotates the variables and functions whose names end at the given offsets as `any`. */
function withAny(code: string, ends: ReadonlySet<number>): string {
  const places = new Set<number>()
  const visit = (node: ts.Node, declared?: ts.VariableDeclaration): void => {
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
