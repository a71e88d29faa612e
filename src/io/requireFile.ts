import { statSync } from 'node:fs'

/** Refuses what is no plain file (a folder, a pipe that nobody writes, a device that never ends), or one of more bytes than are read at once. What is not
 * there at all is left to whoever opens it.
 * @throws Error naming the file */
export function requireFile(path: string, most = Infinity): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isFile()) throw new Error(`${path}: ${found.isDirectory() ? 'a folder' : 'not a plain file'}, needed a file. Check the path.`) // prettier-ignore
  if (found.size > most) throw new Error(`${path}: ${found.size} bytes, needed at most ${most}. Check that it is the file that is meant.`) // prettier-ignore
}
