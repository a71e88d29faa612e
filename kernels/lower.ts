import { basename } from 'node:path'
import { SourceMap, type SourceMapPayload } from 'node:module'
import type * as TypeScript from '@tslab/typescript-for-tslab'
import { ts } from './typescript.js'

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
  /** The name of the user's file. */
  readonly source: string
  /** From a position in `code` to the user's text. */
  readonly origin: (at: Position) => Position
}

/** The names a lowered module uses; dynamic `import()` and `import.meta` have become the last two. */
export const parameters = ['exports', 'require', '__import', '__meta'] as const

/** Lowers an ES module, as the type-checking compiler emitted it, to CommonJS.
 * @param source JavaScript that ends with an inline source map
 * @param prefixLines lines that the converter put before the user's text */
export function lower(source: string, prefixLines = 0): Lowered {
  const [js, first] = splitMap(source)
  const imports: string[] = []
  const { outputText, sourceMapText } = ts.transpileModule(js, {
    fileName: 'cell.js',
    compilerOptions: {
      module: ts.ModuleKind.CommonJS,
      target: ts.ScriptTarget.ES2022,
      esModuleInterop: true,
      noImplicitUseStrict: true,
      sourceMap: true,
    },
    transformers: { before: [rewriteImports(imports)] },
  })
  const second = new SourceMap(JSON.parse(sourceMapText!) as SourceMapPayload)
  const back = (map: SourceMap, line: number, column: number) => {
    const entry = map.findEntry(line, column)
    return 'originalLine' in entry ? { line: entry.originalLine, column: entry.originalColumn } : { line, column }
  }
  return {
    code: splitMap(withoutReset(outputText), false)[0],
    imports,
    source: basename(first?.payload.sources[0] ?? ''),
    origin: at => {
      const emitted = back(second, at.line - 1, at.column - 1)
      const { line, column } = first ? back(first, emitted.line, emitted.column) : emitted
      return { line: Math.max(1, line + 1 - prefixLines), column: column + 1 }
    },
  }
}

function rewriteImports(imports: string[]): TypeScript.TransformerFactory<TypeScript.SourceFile> {
  return context => file => {
    const visit = (node: TypeScript.Node): TypeScript.Node => {
      if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier)
        imports.push((node.moduleSpecifier as TypeScript.StringLiteral).text)
      if (ts.isMetaProperty(node) && node.keywordToken === ts.SyntaxKind.ImportKeyword)
        return ts.factory.createIdentifier('__meta')
      if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
        return ts.factory.createCallExpression(
          ts.factory.createIdentifier('__import'),
          undefined,
          node.arguments.map(argument => ts.visitNode(argument, visit) as TypeScript.Expression),
        )
      return ts.visitEachChild(node, visit, context)
    }
    return ts.visitNode(file, visit) as TypeScript.SourceFile
  }
}

/** Drops the line `exports.a = exports.b = void 0`: a cell that fails must not erase the values of an earlier run. */
function withoutReset(code: string): string {
  return code.replace(/("__esModule", \{ value: true \}\);\n)exports\..* = void 0;$/m, '$1')
}

function splitMap(source: string, parse = true): [string, SourceMap | undefined] {
  const mark = source.lastIndexOf('\n//# sourceMappingURL=')
  if (mark < 0) return [source, undefined]
  const js = source.slice(0, mark + 1)
  if (!parse) return [js, undefined]
  const base64 = source.slice(source.indexOf('base64,', mark) + 'base64,'.length)
  return [js, new SourceMap(JSON.parse(Buffer.from(base64, 'base64').toString()) as SourceMapPayload)]
}
