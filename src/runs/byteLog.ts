import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'

/** A file that only grows. */
export interface ByteLog {
  /** Adds bytes; after an error (a full disk) the file is as it was before.
   * @throws naming the file */
  append(bytes: Buffer): void
  /** Waits until all is on the disk.
   * @returns its bytes */
  flush(): number
  close(): void
}

/** Opens a file for appending, or makes it.
 * @param kept how many bytes to keep of what it holds; the rest is cut off. Default all */
export function openByteLog(path: string, kept: (content: Buffer) => number = content => content.length): ByteLog {
  const file = openSync(path, 'a+')
  const content = readFileSync(path)
  let size = kept(content)
  if (size < content.length) ftruncateSync(file, size)
  return {
    append(bytes) {
      try {
        for (let written = 0; written < bytes.length;) written += writeSync(file, bytes, written)
      } catch (error) {
        ftruncateSync(file, size)
        throw new Error(
          `${path}: cannot be written (${(error as Error).message}). Free some space, or check the folder.`,
          { cause: error },
        )
      }
      size += bytes.length
    },
    flush() {
      fsyncSync(file)
      return size
    },
    close() {
      fsyncSync(file)
      closeSync(file)
    },
  }
}
