/* The comparison notebook in its quick setting, twice with one new cache of compiled programs: the second run compiles nothing. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../../src/xla/index.js'

const NOTEBOOK = 'grpo_dpo_srpo_comparison.ipynb'

const root = packageRoot()
const dir = await mkdtemp(join(tmpdir(), 'rewardlab-cache-'))
const cache = join(dir, 'programs')

/** Runs the notebook; its last cell prints how long it took and what it compiled. */
async function run(): Promise<{ seconds: number; compileSeconds: number; compiled: number }> {
  const output = join(dir, NOTEBOOK)
  const program = [join(root, 'scripts/execute_notebook.py'), join(root, 'notebooks', NOTEBOOK), output]
  const env = { ...process.env, REWARDLAB_QUICK: '1', REWARDLAB_CACHE: cache }
  await promisify(execFile)(join(root, '.venv/bin/python'), program, { cwd: root, env })
  const found = /(\d+) s in all, (\d+) s of it compiling (\d+) programs/.exec(await readFile(output, 'utf8'))
  assert.ok(found, `${NOTEBOOK} does not say what it compiled`)
  const [seconds, compileSeconds, compiled] = found.slice(1).map(Number) as [number, number, number]
  return { seconds, compileSeconds, compiled }
}

try {
  const first = await run()
  const second = await run()
  const files = await readdir(cache)
  const sizes = await Promise.all(files.map(async name => (await stat(join(cache, name))).size))
  const megabytes = sizes.reduce((sum, size) => sum + size, 0) / 1e6
  console.log(
    `cache: first run ${first.seconds} s, ${first.compileSeconds} s of it compiling ${first.compiled} programs; second run ` +
      `${second.seconds} s, ${second.compiled} programs compiled; ${files.length} files of ${megabytes.toFixed(1)} MB`,
  )
  assert.ok(first.compiled > 0)
  assert.equal(second.compiled, 0)
  assert.equal(files.length, first.compiled)
} finally {
  await rm(dir, { recursive: true })
}
