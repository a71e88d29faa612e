import { createRequire } from 'node:module'
import type { Cells } from './cells.js'
import { ts } from './typescript.js'
import type { Content } from './wire.js'

const require = createRequire(import.meta.url)

/** Answers a `complete_request`. */
export function complete(cells: Cells, { code, cursor_pos }: Content): Content {
  const source = String(code)
  const position = toUtf16(source, Number(cursor_pos))
  const { start, end, candidates, kinds } = cells.complete(source, position)
  const prefix = source.slice(start, position).toLowerCase()
  const matches = candidates.filter(name => name.toLowerCase().startsWith(prefix))
  const [cursor_start, cursor_end] = [toCodePoints(source, start), toCodePoints(source, end)]
  const types = matches.map(text => ({ text, type: kinds.get(text), start: cursor_start, end: cursor_end }))
  return {
    status: 'ok',
    matches,
    cursor_start,
    cursor_end,
    metadata: { _jupyter_types_experimental: types },
  }
}

/** Answers an `inspect_request`: signature and docstring. */
export function inspect(cells: Cells, { code, cursor_pos }: Content): Content {
  const { printQuickInfo } = require('tslab/dist/inspect.js') as typeof import('tslab/dist/inspect.js')
  const source = String(code)
  const info = cells.inspect(source, toUtf16(source, Number(cursor_pos)))
  return { status: 'ok', found: !!info, data: info ? { 'text/plain': printQuickInfo(info) } : {}, metadata: {} }
}

/** Answers an `is_complete_request`, by which consoles decide between running a line and starting another. */
export function isComplete({ code }: Content): Content {
  const { isCompleteCode } = require('tslab/dist/converter.js') as typeof import('tslab/dist/converter.js')
  const { completed, indent = '' } = isCompleteCode(String(code))
  if (!completed) return { status: 'incomplete', indent }
  const parsed = ts.createSourceFile('cell.ts', `export {}\n${String(code)}`, ts.ScriptTarget.ES2022)
  const { parseDiagnostics } = parsed as unknown as { readonly parseDiagnostics: readonly unknown[] }
  return { status: parseDiagnostics.length > 0 ? 'invalid' : 'complete' }
}

/** Jupyter counts code points, JavaScript UTF-16 units. */
const toUtf16 = (text: string, position: number): number => [...text].slice(0, position).join('').length
const toCodePoints = (text: string, position: number): number => [...text.slice(0, position)].length
