import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)

/** The folder of the rewardlab package this kernel belongs to. */
export const installation = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** Packages that cells always take from the installation, wherever the notebook lies: all cells and the engine must
 * share one instance. Any other package is looked for beside the notebook first, then here. */
export const isOwned = (id: string): boolean => /^(rewardlab\/|@tensorflow\/tfjs-core(\/|$)|tslab$)/.test(id)

/** The folder that holds `@types/node`: ours in a checkout, tslab's where development packages are not installed. */
export const typeRoot = resolve(
  dirname(require.resolve('@types/node/package.json', { paths: [installation, dirname(require.resolve('tslab'))] })),
  '..',
)

const sources = join(installation, 'dist', 'src')
/** The names of its public modules: `rewardlab/NAME`. */
export const modules = readdirSync(sources).filter(name => existsSync(join(sources, name, 'index.js')))
