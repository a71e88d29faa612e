/** What a plugin reported. */
export class PjrtError extends Error {
  override name = 'PjrtError'
}

/** An allocation that failed, or that would have. The process goes on; what was asked for does not exist. */
export class OutOfMemoryError extends PjrtError {
  override name = 'OutOfMemoryError'
}

/** For people: 1536 → "1.54 KB". */
export function sizeInWords(bytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB', 'PB']
  let unit = 0
  for (; bytes >= 1000 && unit < units.length - 1; unit++) bytes /= 1000
  return `${unit === 0 ? bytes : bytes.toPrecision(3)} ${units[unit]}`
}
