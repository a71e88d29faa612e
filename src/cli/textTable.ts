/** Rows of texts and numbers as aligned text for a terminal; null is a dash. Columns are those of the first row. */
export function textTable<R extends object>(rows: readonly R[]): string {
  const names = Object.keys(rows[0] ?? {})
  const cells = rows.map(row => names.map(name => cell((row as Record<string, Cell>)[name]!)))
  const widths = names.map((name, i) => Math.max(name.length, ...cells.map(row => row[i]!.length)))
  const line = (row: string[]) => row.map((text, i) => (i === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[i]!)))
  return [names, ...cells].map(row => line(row).join('  ')).join('\n')
}

type Cell = string | number | null

function cell(value: Cell): string {
  if (typeof value !== 'number') return value ?? '–'
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)))
}
