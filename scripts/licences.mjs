/** `node scripts/licences.mjs`: the licences of all packages that are installed, from package-lock.json and their own package.json; ends with 1 if one names none. */
import { readFileSync } from 'fs'

const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const byLicence = new Map()
for (const [path, { dev, optional, peer, version, license }] of Object.entries(packages)) {
  if (path === '') continue
  const licence = license ?? licenceOf(path)
  if (licence === null && optional) continue // of another platform, not installed
  const kind = dev || peer ? 'development' : 'runtime'
  const key = licence ?? 'none named'
  const found = byLicence.get(key) ?? { runtime: [], development: [] }
  found[kind].push(`${path.replace(/^.*node_modules\//, '')}@${version}`)
  byLicence.set(key, found)
}

/** Its own, or where it names none, that of the MIT licence's text beside it. */
function licenceOf(path) {
  try {
    const { license, licenses } = JSON.parse(readFileSync(`${path}/package.json`, 'utf8'))
    const named = license?.type ?? license ?? licenses?.map(({ type }) => type).join(' OR ')
    return named ?? (readFileSync(`${path}/LICENSE`, 'utf8').includes('MIT License') ? 'MIT' : null)
  } catch {
    return null
  }
}

const FEW = 6 // packages named
for (const [licence, { runtime, development }] of [...byLicence].sort(
  ([, a], [, b]) => b.runtime.length - a.runtime.length,
)) {
  const names = runtime.length > 0 && runtime.length <= FEW ? ` (${runtime.join(', ')})` : ''
  console.log(`${licence}: ${runtime.length} at run time${names}, ${development.length} for development`)
}
if (byLicence.has('none named')) {
  const { runtime, development } = byLicence.get('none named')
  console.error(`no licence is named by ${[...runtime, ...development].join(', ')}`)
  process.exitCode = 1
}
