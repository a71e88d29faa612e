/** `npm run test:browser`: a browser on a running JupyterLab goes through the comparison notebook's first part. Chromium is the
 * system's, or one that CHROMIUM names; where there is none, Debian's package is installed. Screenshots go to screenshots/. */
import { spawnSync } from 'child_process'
import fs from 'fs'
import path from 'path'
import { logged, runNode, setUp } from './setup.mjs'

setUp()

const chromium = findChromium() || installChromium()
if (!chromium) {
  const rule = '*'.repeat(96)
  console.log(`${rule}
SKIPPED: the browser test did not run. There is no Chromium, and apt cannot install it here (setup.log).
Install it (Debian: apt install chromium), or set CHROMIUM to the program of one, then run again.
${rule}`)
  process.exit(0)
}

const files = process.argv.slice(2).length > 0 ? process.argv.slice(2) : ['dist/test/browser/comparison.js']
process.env.CHROMIUM = chromium
if (process.env.XLA_FLAGS === undefined) process.env.XLA_FLAGS = '' // timings are of optimised programs, which .mocharc.cjs forgoes
process.exit(
  runNode('node_modules/mocha/bin/mocha.js', ['--reporter', 'scripts/mocha-reporter.mjs', '--bail', ...files]),
)

function findChromium() {
  const folders = (process.env.PATH || '').split(path.delimiter)
  const found = ['chromium', 'chromium-browser', 'google-chrome'].map(name =>
    folders.map(folder => path.join(folder, name)).find(file => fs.existsSync(file)),
  )
  return process.env.CHROMIUM || found.find(Boolean)
}

function installChromium() {
  const command = [...(process.getuid() === 0 ? [] : ['sudo', '-n']), 'apt-get', '-o', 'DPkg::Lock::Timeout=300']
  const apt = (...args) => logged(command[0], [...command.slice(1), ...args]).status === 0
  if (spawnSync('apt-get', ['--version']).error) return undefined
  console.log('Installing Chromium (apt) …')
  return apt('update') && apt('install', '-y', '--no-install-recommends', 'chromium', 'fonts-liberation')
    ? findChromium()
    : undefined
}
