import { basename } from 'node:path'
import { SourceMap, type SourceMapPayload } from 'node:module'
import ts from 'typescript'
import { SCOPE, shareNames } from './scope.js'

/** A position in what the user wrote: line and column, both from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** A module as the body of a function of `parameters`. */
export interface Lowered {
  readonly code: string
  /** Specifiers of its static imports, in order; type-only ones are gone. */
  readonly imports: readonly string[]
  /** The top-level names of a cell. */
  readonly names: readonly string[]
  /** The name of the user's file. */
  readonly source: string
  /** From a position in `code` to the user's text. */
  readonly origin: (at: Position) => Position
}

/** The names that lowered code uses: an object for what it declares, in cells and in files; what static imports have
 * become; and dynamic `import()` and `import.meta`. */
export const parameters = [SCOPE, 'exports', 'require', '__import', '__meta'] as const

/** Lowers a local file, as the type-checking compiler emitted it, to CommonJS.
 * @param source an ES module that ends with an inline source map */
export const lowerFile = (source: string): Lowered => lower(source, ts.ModuleKind.CommonJS)

/** Lowers a cell: its top-level names become those of the notebook.
 * @param earlier the names that cells before it have declared
 * @param prefixLines lines that the converter put before the user's text */
export const lowerCell = (source: string, earlier: ReadonlySet<string>, prefixLines: number): Lowered =>
  lower(source, ts.ModuleKind.ESNext, earlier, prefixLines)

function lower(source: string, module: ts.ModuleKind, earlier?: ReadonlySet<string>, prefixLines = 0): Lowered {
  const [js, first] = splitMap(source)
  // Read as TypeScript where names are resolved: in JavaScript `name.x = 1` may declare `name`.
  const program = programOf(earlier ? '/module.ts' : '/module.js', js, module)
  const file = program.getSourceFiles()[0]!
  const { names, transform } = earlier ? shareNames(file, program.getTypeChecker(), earlier) : { names: [] }
  let code = ''
  let second: SourceMap
  program.emit(
    file,
    (path, text) => {
      if (path.endsWith('.map')) second = new SourceMap(JSON.parse(text) as SourceMapPayload)
      else code = splitMap(text, false)[0]
    },
    undefined,
    false,
    transform ? { before: [transform, rewriteImports], after: [withoutExports] } : { before: [rewriteImports] },
  )
  const back = (map: SourceMap, line: number, column: number) => {
    const entry = map.findEntry(line, column)
    return 'originalLine' in entry ? { line: entry.originalLine, column: entry.originalColumn } : { line, column }
  }
  return {
    code,
    imports: file.statements.flatMap(statement =>
      (ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)) && statement.moduleSpecifier
        ? [(statement.moduleSpecifier as ts.StringLiteral).text]
        : [],
    ),
    names,
    source: basename(first?.payload.sources[0] ?? ''),
    origin: at => {
      const emitted = back(second, at.line - 1, at.column - 1)
      const { line, column } = first ? back(first, emitted.line, emitted.column) : emitted
      return { line: Math.max(1, line + 1 - prefixLines), column: column + 1 }
    },
  }
}

/** A program of one file of JavaScript, which looks at nothing outside. */
function programOf(path: string, js: string, module: ts.ModuleKind): ts.Program {
  const target = ts.ScriptTarget.ES2022
  const options: ts.CompilerOptions = {
    ...{ module, target, outDir: '/out', sourceMap: true, esModuleInterop: true },
    ...{ allowJs: true, isolatedModules: true, noLib: true, noResolve: true, types: [] },
  }
  const file = ts.createSourceFile(path, js, target, true)
  return ts.createProgram([path], options, {
    getSourceFile: name => (name === path ? file : undefined),
    fileExists: name => name === path,
    readFile: () => undefined,
    writeFile: () => {},
    getDefaultLibFileName: () => '',
    getCurrentDirectory: () => '/',
    getCanonicalFileName: name => name,
    useCaseSensitiveFileNames: () => true,
    getNewLine: () => '\n',
  })
}

const rewriteImports: ts.TransformerFactory<ts.SourceFile> = context => file => {
  const visit = (node: ts.Node): ts.Node => {
    if (ts.isMetaProperty(node) && node.keywordToken === ts.SyntaxKind.ImportKeyword)
      return ts.factory.createIdentifier('__meta')
    const visited = ts.visitEachChild(node, visit, context)
    return ts.isCallExpression(visited) && visited.expression.kind === ts.SyntaxKind.ImportKeyword
      ? ts.factory.updateCallExpression(visited, ts.factory.createIdentifier('__import'), undefined, visited.arguments)
      : visited
  }
  return ts.visitNode(file, visit) as ts.SourceFile
}

/** Drops the `export {}` by which the compiler marks a module that exports nothing. */
const withoutExports: ts.TransformerFactory<ts.SourceFile> = () => file =>
  ts.factory.updateSourceFile(
    file,
    file.statements.filter(statement => !ts.isExportDeclaration(statement)),
  )

function splitMap(source: string, parse = true): [string, SourceMap | undefined] {
  const mark = source.lastIndexOf('\n//# sourceMappingURL=')
  if (mark < 0) return [source, undefined]
  const js = source.slice(0, mark + 1)
  if (!parse) return [js, undefined]
  const base64 = source.slice(source.indexOf('base64,', mark) + 'base64,'.length)
  return [js, new SourceMap(JSON.parse(Buffer.from(base64, 'base64').toString()) as SourceMapPayload)]
}
