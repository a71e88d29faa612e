import Module, { createRequire } from 'node:module'
import type { Content } from './wire.js'

const require = createRequire(import.meta.url)

/** Makes `display` and `newDisplay` of the package `tslab` work in cells. They hand their bundles to tslab's own server,
 * whose place a stand-in takes: the real one would load zeromq into this thread.
 * @param write publishes a `display_data` content, or with `update` an `update_display_data` one */
export function serveTslab(write: (content: Content, update: boolean) => void): void {
  const path = require.resolve('tslab/dist/jupyter.js')
  const exports = { lastWriteDisplayData: (content: Content, update?: boolean) => write(content, update === true) }
  require.cache[path] = Object.assign(new Module(path), { exports, loaded: true })
}
