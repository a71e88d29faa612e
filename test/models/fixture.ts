import { fileURLToPath } from 'node:url'

/** Path of a file of test/fixtures, from a compiled test. */
export const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../test/fixtures/${name}`, import.meta.url))
