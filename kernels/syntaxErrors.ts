import type { Diagnostic } from 'tslab/dist/converter.js'
import ts from 'typescript'

/** Makes code a module, where `await` is a keyword; ended, for code that begins with `from(`. */
const PREFIX = 'export {};\n'

/** What keeps a cell from being parsed, at its places in the cell. */
export function syntaxErrors(code: string): Diagnostic[] {
  const file = ts.createSourceFile('cell.ts', PREFIX + code, ts.ScriptTarget.Latest)
  const { parseDiagnostics } = file as unknown as { readonly parseDiagnostics: readonly ts.DiagnosticWithLocation[] }
  const at = (offset: number) => {
    const { line, character } = file.getLineAndCharacterOfPosition(offset)
    return { offset: offset - PREFIX.length, line: line - 1, character }
  }
  return parseDiagnostics.map(({ start, length, messageText, category, code }) => ({
    start: at(start),
    end: at(start + length),
    messageText: ts.flattenDiagnosticMessageText(messageText, '\n'),
    category,
    code,
  }))
}
