import { createRequire } from 'node:module'
import type ts from 'typescript'
import type { Cells } from './cells.js'
import { syntaxErrors } from './syntaxErrors.js'
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
  const source = String(code)
  const info = cells.inspect(source, toUtf16(source, Number(cursor_pos)))
  return { status: 'ok', found: info !== undefined, data: info ? described(info) : {}, metadata: {} }
}

/** The name that a cell asks about by `name?`, which is no ts. */
export const questioned = (code: string): string | undefined =>
  /^\s*([\p{L}_$][\p{L}\p{N}_$.]*)\s*\?\s*$/u.exec(code)?.[1]

/** Answers such a cell: what the front end shows in its pager. */
export function page(cells: Cells, name: string): Content {
  const info = cells.inspect(name, name.length)
  const data = info ? described(info) : { 'text/plain': `There is no ${name}.` }
  return { source: 'page', data, start: 0 }
}

function described({ displayParts, documentation, tags }: ts.QuickInfo): Record<string, string> {
  const text = (parts: readonly { readonly text: string }[] = []) => parts.map(part => part.text).join('')
  const signature = text(displayParts)
    .replace(/^\(alias\) /, '')
    .replace(/\n(import|export) .*$/, '')
  const docs = text(documentation)
  const entries = (tags ?? []).map(tag => ({ name: tag.name, text: text(tag.text) }))
  return {
    'text/plain': [signature, '', docs, ...entries.map(({ name, text }) => `@${name} ${text}`)].join('\n').trimEnd(),
    'text/markdown': [
      `\`\`\`typescript\n${signature}\n\`\`\``,
      docs,
      ...entries.map(({ name, text }) => `*${name}* ${text}`),
    ].join('\n\n'),
  }
}

/** Answers an `is_complete_request`, by which consoles decide between running a line and starting another. */
export function isComplete({ code }: Content): Content {
  const { isCompleteCode } = require('tslab/dist/converter.js') as typeof import('tslab/dist/converter.js')
  if (questioned(String(code)) !== undefined) return { status: 'complete' }
  const { completed, indent = '' } = isCompleteCode(String(code))
  if (!completed) return { status: 'incomplete', indent }
  const errors = syntaxErrors(String(code))
  if (errors.some(({ code }) => code === UNTERMINATED_TEMPLATE)) return { status: 'incomplete', indent: '' }
  return { status: errors.length > 0 ? 'invalid' : 'complete' }
}

const UNTERMINATED_TEMPLATE = 1160

/** Jupyter counts code points, JavaScript UTF-16 units. */
const toUtf16 = (text: string, position: number): number => [...text].slice(0, position).join('').length
const toCodePoints = (text: string, position: number): number => [...text.slice(0, position)].length
