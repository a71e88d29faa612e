import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '../../..')

/** Runs a script of this repository. */
function node(program: string, ...args: string[]) {
  return spawnSync(process.execPath, [path.join(root, program), ...args], { cwd: root, encoding: 'utf8' })
}

describe('npm run notebook', () => {
  const failures = [
    [[], /^rewardlab: no notebook was named\. Usage: npm run notebook -- NAME/],
    [['--fast'], /^rewardlab: unexpected argument --fast\. Usage:/],
    [['no_such_notebook'], /^rewardlab: notebooks\/no_such_notebook\.ipynb does not exist\. There are: /],
  ] as const
  for (const [args, line] of failures) {
    it(`refuses ${args.join(' ') || 'no name'}`, () => {
      const { status, stderr } = node('scripts/notebook.mjs', ...args)
      assert.match(stderr, line)
      assert.equal(stderr.trim().split('\n').length, 1)
      assert.equal(status, 1)
    })
  }
})

describe('npm run check:long', () => {
  it('lists the checks when none, or an unknown one, is named', () => {
    assert.match(node('scripts/check-long.mjs').stderr, /^rewardlab: no long check was named\. There are: .*Usage:/)
    assert.match(node('scripts/check-long.mjs', 'x').stderr, /^rewardlab: there is no long check x\. There are: /)
  })
})

describe('npm run check:gpu -- --bundle', () => {
  it('wants a new folder', () => {
    assert.match(node('scripts/check-gpu.mjs', '--bundle').stderr, /^rewardlab: --bundle needs a folder: .*\n$/)
    assert.match(
      node('scripts/check-gpu.mjs', '--bundle', root).stderr,
      /^rewardlab: .* is not empty\. Name a new folder\.\n$/,
    )
  })
})

describe('the reporter of npm test', () => {
  it('closes with one plain line', () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rewardlab-reporter-'))
    const file = path.join(folder, 'sample.cjs')
    fs.writeFileSync(
      file,
      "it('a', () => {}); it('b', () => {}); it.skip('c', () => {}); it('d', () => { throw new Error('no') })",
    )
    const { status, stdout } = node('node_modules/mocha/bin/mocha.js', '--reporter', 'scripts/mocha-reporter.mjs', file)
    fs.rmSync(folder, { recursive: true })
    assert.equal(stdout.trimEnd().split('\n').pop(), '2 passed, 1 failed, 1 skipped')
    assert.equal(status, 1)
  })
})
