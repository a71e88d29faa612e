import { escapeHtml } from './escapeHtml.js'
import { writeWhole } from './writeWhole.js'

export type TableFormat = 'csv' | 'tex' | 'md' | 'html'

/** An arquero table, or its rows. */
export type TableLike = { columnNames(): string[]; objects(): object[] } | readonly object[]

export interface ExportTableOptions {
  /** Decimals of numbers that are not whole; CSV keeps all. */
  digits?: number
  /** Caption of the LaTeX table, plain text. */
  caption?: string
  /** Label of the LaTeX table, as `tab:results`. */
  label?: string
}

/** Writes a table as CSV (RFC 4180), LaTeX (needs the booktabs package), Markdown or HTML. Everywhere but in CSV the columns `x`, `x_low`,
 * `x_high` become one, `mean [low, high]`. Every text is escaped.
 * @param path without extension: `figures/table` gives `figures/table.tex`, …
 * @returns the paths written, in the order of the formats */
export async function exportTable(
  table: TableLike,
  path: string,
  formats: readonly TableFormat[] = ['csv', 'tex', 'md', 'html'],
  options: ExportTableOptions = {},
): Promise<string[]> {
  const paths: string[] = []
  for (const format of formats) paths.push(await writeWhole(`${path}.${format}`, formatTable(table, format, options)))
  return paths
}

/** The text of {@link exportTable}'s file. */
export function formatTable(
  table: TableLike,
  format: TableFormat,
  { digits = 3, ...tex }: ExportTableOptions = {},
): string {
  const columns = 'columnNames' in table ? table.columnNames() : [...new Set(table.flatMap(row => Object.keys(row)))]
  if (columns.length === 0) throw new Error('exportTable: the table has no columns, needed at least one.')
  const rows = ('objects' in table ? table.objects() : table) as readonly Row[]
  switch (format) {
    case 'csv':
      return csv(columns, rows)
    case 'tex':
      return latex(folded(columns, rows, digits), tex)
    case 'md':
      return markdown(folded(columns, rows, digits))
    case 'html':
      return html(folded(columns, rows, digits))
    default:
      throw new Error(`exportTable: format is "${String(format)}", needed csv, tex, md or html.`)
  }
}

type Row = Readonly<Record<string, unknown>>

interface Column {
  name: string
  cells: string[]
  /** Numbers stand right, texts left. */
  numeric: boolean
}

/** Columns as text, each triple of a value and its bounds as one. */
function folded(columns: readonly string[], rows: readonly Row[], digits: number): Column[] {
  const present = new Set(columns)
  const hasBounds = (name: string) => present.has(`${name}_low`) && present.has(`${name}_high`)
  const isBound = (name: string) => /_(low|high)$/.test(name) && hasBounds(name.replace(/_(low|high)$/, ''))
  return columns
    .filter(name => !isBound(name))
    .map(name => {
      const decimals =
        rows.every(row => isEmpty(row[name]) || Number.isInteger(row[name])) && !hasBounds(name) ? 0 : digits
      const cell = (row: Row, column: string) => formatCell(row[column], decimals)
      return {
        name,
        numeric: rows.every(row => isEmpty(row[name]) || typeof row[name] === 'number'),
        cells: rows.map(row =>
          hasBounds(name) && !isEmpty(row[`${name}_low`])
            ? `${cell(row, name)} [${cell(row, `${name}_low`)}, ${cell(row, `${name}_high`)}]`
            : cell(row, name),
        ),
      }
    })
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || Number.isNaN(value)
}

function formatCell(value: unknown, decimals: number): string {
  if (isEmpty(value)) return '–'
  return typeof value === 'number' ? value.toFixed(decimals).replace('-', '−') : plain(value)
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function csv(columns: readonly string[], rows: readonly Row[]): string {
  const quote = (text: string) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  const lines = [columns, ...rows.map(row => columns.map(name => (isEmpty(row[name]) ? '' : plain(row[name]))))]
  return lines.map(cells => cells.map(quote).join(',') + '\r\n').join('')
}

function latex(columns: readonly Column[], { caption, label }: { caption?: string; label?: string }): string {
  const line = (cells: readonly string[]) => `    ${cells.map(escapeLatex).join(' & ')} \\\\`
  return [
    '\\begin{table}',
    '  \\centering',
    ...(caption === undefined ? [] : [`  \\caption{${escapeLatex(caption)}}`]),
    ...(label === undefined ? [] : [`  \\label{${label}}`]),
    `  \\begin{tabular}{${columns.map(column => (column.numeric ? 'r' : 'l')).join('')}}`,
    '    \\toprule',
    line(columns.map(column => column.name)),
    '    \\midrule',
    ...transpose(columns).map(line),
    '    \\bottomrule',
    '  \\end{tabular}',
    '\\end{table}',
    '',
  ].join('\n')
}

const latexEscapes: Record<string, string> = {
  '\\': '\\textbackslash{}',
  '~': '\\textasciitilde{}',
  '^': '\\textasciicircum{}',
  '<': '\\textless{}',
  '>': '\\textgreater{}',
  '|': '\\textbar{}',
  '−': '$-$',
  '–': '--',
  '\n': ' ',
}

/** Text as LaTeX prints it. Text that opens with a bracket is braced, since a row's end, `\\`, would read it as a length. */
export function escapeLatex(text: string): string {
  const escaped = text.replace(/[\\~^<>|−–\n&%$#_{}]/g, c => latexEscapes[c] ?? `\\${c}`)
  return escaped.startsWith('[') ? `{${escaped}}` : escaped
}

function markdown(columns: readonly Column[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`
  const escape = (text: string) => text.replace(/[\\|`*_<>]/g, '\\$&').replace(/\s*\n\s*/g, '<br>')
  return [
    line(columns.map(column => escape(column.name))),
    line(columns.map(column => (column.numeric ? '---:' : '---'))),
    ...transpose(columns).map(cells => line(cells.map(escape))),
  ].join('')
}

function html(columns: readonly Column[]): string {
  const cell = (tag: string, text: string, { numeric }: Column) =>
    `<${tag}${numeric ? ' style="text-align: right"' : ''}>${escapeHtml(text)}</${tag}>`
  const line = (cells: string[]) => `<tr>${cells.join('')}</tr>\n`
  const body = transpose(columns).map(cells => line(cells.map((text, i) => cell('td', text, columns[i]!))))
  return `<table>\n<thead>\n${line(columns.map(c => cell('th', c.name, c)))}</thead>\n<tbody>\n${body.join('')}</tbody>\n</table>\n`
}

function transpose(columns: readonly Column[]): string[][] {
  return columns[0]!.cells.map((_, row) => columns.map(column => column.cells[row]!))
}
