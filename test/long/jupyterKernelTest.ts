/* Jupyter's own tests of kernels, jupyterKernelTest.py, in a Python environment made for them. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../../src/xla/index.js'

const run = promisify(execFile)
const root = packageRoot()
const sources = join(root, 'test/long')
const dir = await mkdtemp(join(tmpdir(), 'rewardlab-jupyter-'))
const python = join(dir, 'bin/python')

try {
  await run(join(root, '.venv/bin/python'), ['-m', 'venv', dir])
  await run(python, ['-m', 'pip', 'install', '--no-input', '-r', join(sources, 'jupyterKernelTest.txt')])
  await run(process.execPath, [join(root, 'dist/kernels/install.js'), '--prefix', dir])
  const env = {
    ...process.env,
    JUPYTER_PATH: join(dir, 'share/jupyter'),
    REWARDLAB_HISTORY: join(dir, 'history.jsonl'),
  }
  const program = [join(sources, 'jupyterKernelTest.py'), '--verbose']
  const { stderr } = await run(python, program, { cwd: dir, env }).catch((error: { stderr: string }) => error)
  const [, count] = /^Ran (\d+) tests in .*\n\nOK$/m.exec(stderr) ?? []
  assert.ok(count !== undefined, stderr)
  console.log(`jupyterKernelTest: ${count} tests passed, none skipped, on Node ${process.versions.node}`)
} finally {
  await rm(dir, { recursive: true })
}
