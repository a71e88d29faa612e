/** A value as messages show it: its JSON, of a long one the beginning. Control characters are escaped. */
export function excerpt(value: unknown, most = 60): string {
  const text = jsonOf(value)
  return text.length > most ? `${text.slice(0, most)}…` : text
}

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return `a ${typeof value}` // nested too deeply, or longer than a string may be
  }
}
