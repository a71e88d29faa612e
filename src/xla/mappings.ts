import { readFileSync } from 'node:fs'

const SHARE = 0.4 // of the limit: what is let go of is freed at a garbage collection, not at once
const NEWLINE = 10
let limit: number | undefined

/** Whether this process holds more memory mappings than this, or a good part of those that Linux grants it: a compiled model takes about 200 on a CPU, of
 * 65,530, and LLVM ends the process where one more is refused. */
export function mappingsScarce(most?: number): boolean {
  try {
    limit ??= Number(readFileSync('/proc/sys/vm/max_map_count', 'utf8'))
    let used = 0
    for (const byte of readFileSync('/proc/self/maps')) if (byte === NEWLINE) used++
    return used > (most ?? SHARE * limit)
  } catch {
    return false // not Linux
  }
}
