/** `npm run check:long -- NAME`: one of the checks too long for `npm test`, each a program that prints one result line. */
import { fail, inRoot, runNode, setUp } from './setup.mjs'
import fs from 'fs'

const [name, ...args] = process.argv.slice(2)
const folder = inRoot('test/long')
const names = fs.existsSync(folder) ? fs.readdirSync(folder).filter(file => file.endsWith('.ts')) : []
if (!names.includes(`${name}.ts`)) {
  const known = names.map(file => file.slice(0, -'.ts'.length)).join(', ') || 'none yet'
  fail(
    `${name ? `there is no long check ${name}` : 'no long check was named'}. There are: ${known}. Usage: npm run check:long -- NAME`,
  )
}

setUp()
process.exit(runNode(`dist/test/long/${name}.js`, args))
