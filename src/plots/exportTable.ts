import { escapeHtml } from './escapeHtml.js'
import { writeWhole } from '../io/writeWhole.js'

export type TableFormat = 'csv' | 'tex' | 'md' | 'html'

/** An arquero table, or its rows. */
export type TableLike = { columnNames(): string[]; objects(): object[] } | readonly object[]

export interface ExportTableOptions {
  /** Decimals of numbers that are not whole, by default 3; CSV keeps all, and what would round to zero gets a power of ten. */
  digits?: number
  /** Caption of the LaTeX table, plain text. */
  caption?: string
  /** Label of the LaTeX table, as `tab:results`. */
  label?: string
}

/** Writes a table as CSV (RFC 4180), LaTeX (needs the booktabs package), Markdown or HTML. Everywhere but in CSV the columns `x`, `x_low`,
 * `x_high` become one, `mean [low, high]`; missing numbers are a dash. Every text is escaped; numbers stand right, so that their points
 * are in line. LaTeX gets Greek letters and the commonest signs as commands; other letters need an engine and a font that have them.
 * @param path without extension: `figures/table` gives `figures/table.tex`, …; folders are made, each file appears whole or not at all
 * @returns the paths written, in the order of the formats
 * @throws if the table has no columns or a format is unknown; nothing of that format is written */
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

/** The text of {@link exportTable}'s file.
 * @throws as it does */
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
  /** A cell's value and, where the column has bounds, its interval; '' for no interval. */
  cells: (readonly [value: string, interval: string])[]
  /** Numbers stand right, texts left. */
  numeric: boolean
  hasBounds: boolean
}

/** Columns as text, each triple of a value and its bounds as one. */
function folded(columns: readonly string[], rows: readonly Row[], digits: number): Column[] {
  const present = new Set(columns)
  const hasBounds = (name: string) => present.has(`${name}_low`) && present.has(`${name}_high`)
  const isBound = (name: string) => /_(low|high)$/.test(name) && hasBounds(name.replace(/_(low|high)$/, ''))
  return columns
    .filter(name => !isBound(name))
    .map(name => {
      const whole = rows.every(row => isEmpty(row[name]) || Number.isInteger(row[name]))
      const cell = (row: Row, column: string) => formatCell(row[column], whole && !hasBounds(name) ? 0 : digits)
      return {
        name,
        numeric: rows.every(row => isEmpty(row[name]) || typeof row[name] === 'number'),
        hasBounds: hasBounds(name),
        cells: rows.map(row => [
          cell(row, name),
          hasBounds(name) && !isEmpty(row[`${name}_low`])
            ? `[${cell(row, `${name}_low`)}, ${cell(row, `${name}_high`)}]`
            : '',
        ]),
      }
    })
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || Number.isNaN(value)
}

function formatCell(value: unknown, decimals: number): string {
  if (isEmpty(value)) return '–'
  if (typeof value !== 'number') return plain(value)
  const vanishes = value !== 0 && Math.abs(value) < 0.5 * 10 ** -decimals
  return (vanishes ? value.toExponential(1) : value.toFixed(decimals)).replaceAll('-', '−')
}

function plain(value: unknown): string {
  if (typeof value === 'string') return value
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'object' ? JSON.stringify(value) : `${value as number | bigint | boolean}`
}

function csv(columns: readonly string[], rows: readonly Row[]): string {
  const quote = (text: string) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  const lines = [columns, ...rows.map(row => columns.map(name => (isEmpty(row[name]) ? '' : plain(row[name]))))]
  return lines.map(cells => cells.map(quote).join(',') + '\r\n').join('')
}

/** A value and its interval are two columns here and in HTML, so that points are in line although brackets hold minus signs. */
function latex(columns: readonly Column[], { caption, label }: { caption?: string; label?: string }): string {
  // after a row's end, \\\\, a bracket would be read as a length
  const line = (cells: readonly string[]) => `    ${cells.join(' & ').replace(/^\[/, '{[}')} \\\\`
  const alignment = ({ numeric, hasBounds }: Column) => (hasBounds ? 'r@{~}r' : numeric ? 'r' : 'l')
  const heading = ({ name, hasBounds }: Column) =>
    hasBounds ? `\\multicolumn{2}{c}{${escapeLatex(name)}}` : escapeLatex(name)
  const cell = ([value, interval]: readonly [string, string], { hasBounds }: Column) =>
    hasBounds ? `${escapeLatex(value)} & ${escapeLatex(interval)}` : escapeLatex(value)
  return [
    '\\begin{table}',
    '  \\centering',
    ...(caption === undefined ? [] : [`  \\caption{${escapeLatex(caption)}}`]),
    ...(label === undefined ? [] : [`  \\label{${label}}`]),
    `  \\begin{tabular}{${columns.map(alignment).join('')}}`,
    '    \\toprule',
    line(columns.map(heading)),
    '    \\midrule',
    ...transpose(columns).map(cells => line(cells.map((pair, i) => cell(pair, columns[i]!)))),
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
  '—': '---',
  '…': '\\ldots{}',
  '→': '$\\rightarrow$',
  '×': '$\\times$',
  '±': '$\\pm$',
  '≤': '$\\leq$',
  '≥': '$\\geq$',
  '∞': '$\\infty$',
  '\n': ' ',
  ...greek('α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta κ kappa λ lambda μ mu ν nu ξ xi π pi ρ rho'),
  ...greek('σ sigma τ tau φ phi χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda Π Pi Σ Sigma Φ Phi Ψ Psi Ω Omega'),
}

function greek(names: string): Record<string, string> {
  return Object.fromEntries([...names.matchAll(/(\S) (\w+)/g)].map(([, letter, name]) => [letter!, `$\\${name}$`]))
}

/** Text as LaTeX prints it. */
export function escapeLatex(text: string): string {
  return [...text].map(c => latexEscapes[c] ?? (/[&%$#_{}]/.test(c) ? `\\${c}` : c)).join('')
}

function markdown(columns: readonly Column[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`
  const escape = (text: string) => text.replace(/[\\|`*_<>]|\](?=[([])/g, '\\$&').replace(/\s*\n\s*/g, '<br>')
  return [
    line(columns.map(column => escape(column.name))),
    line(columns.map(column => (column.numeric ? '---:' : '---'))),
    ...transpose(columns).map(cells => line(cells.map(pair => escape(joined(pair))))),
  ].join('')
}

function html(columns: readonly Column[]): string {
  const right = ' style="text-align: right; font-variant-numeric: tabular-nums"'
  const heading = ({ name, numeric, hasBounds }: Column) =>
    `<th${hasBounds ? ' colspan="2"' : ''}${numeric ? right : ''}>${escapeHtml(name)}</th>`
  const cell = ([value, interval]: readonly [string, string], { numeric, hasBounds }: Column) =>
    (hasBounds ? [value, interval] : [value])
      .map(text => `<td${numeric ? right : ''}>${escapeHtml(text)}</td>`)
      .join('')
  const line = (cells: string[]) => `<tr>${cells.join('')}</tr>\n`
  const body = transpose(columns).map(cells => line(cells.map((pair, i) => cell(pair, columns[i]!))))
  return `<table>\n<thead>\n${line(columns.map(heading))}</thead>\n<tbody>\n${body.join('')}</tbody>\n</table>\n`
}

const joined = ([value, interval]: readonly [string, string]) => (interval ? `${value} ${interval}` : value)

function transpose(columns: readonly Column[]): Column['cells'][] {
  return columns[0]!.cells.map((_, row) => columns.map(column => column.cells[row]!))
}
