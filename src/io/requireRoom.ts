import { getHeapStatistics } from 'node:v8'

/** Bytes that what a file holds may take: most of the heap. */
const ROOM = 0.75 * getHeapStatistics().heap_size_limit

/** Refuses what would fill the heap: V8 ends the process then, it throws nothing.
 * @param bytes what something takes in memory, about
 * @param instead what to do
 * @throws Error naming `where` */
export function requireRoom(bytes: number, where: string, instead: string): void {
  if (bytes <= ROOM) return
  const shown = (n: number) => `${(n / 2 ** 30).toFixed(1)} GB`
  throw new Error(`${where}: takes about ${shown(bytes)} of memory, and this process has ${shown(ROOM)} for it. ${instead}`) // prettier-ignore
}

/** What rows or other JSON take in memory, about, from above: each value is counted as an object of its own.
 * @param text JSON, or a table of separated values */
export function parsedBytes(text: Uint8Array): number {
  let values = 0
  for (const byte of text) if (MARKS[byte]) values++
  return text.length + 64 * values
}

const MARKS = Uint8Array.from({ length: 256 }, (_, byte) => (',[{\n\t;'.includes(String.fromCharCode(byte)) ? 1 : 0))
