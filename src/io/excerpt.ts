/** A value as messages show it: its JSON, of a long one the beginning. Control characters are escaped. */
export function excerpt(value: unknown, most = 60): string {
  const text = jsonOf(value)
  return text.length > most ? `${text.slice(0, most)}…` : text
}

/** The same of a field that may not be there. */
export const shown = (value: unknown): string => (value === undefined ? 'missing' : excerpt(value))

/** The names of a row's fields, of many the first.
 * @param none said where there are none */
export const fieldNames = (row: object, none: string): string => Object.keys(row).join(', ').slice(0, 200) || none

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return `a ${typeof value}` // nested too deeply, or longer than a string may be
  }
}
