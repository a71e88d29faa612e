import assert from 'node:assert/strict'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Diagnosis } from '../../src/cli/doctor.js'
import { packageRoot } from '../../src/xla/index.js'
import { node, rewardlab } from './rewardlab.js'

/** Nothing in the environment that chooses a backend, device or plugin. */
const plain = {
  REWARDLAB_BACKEND: undefined,
  REWARDLAB_DEVICE: undefined,
  REWARDLAB_PJRT_PLUGIN: undefined,
  VIRTUAL_ENV: undefined,
  CONDA_PREFIX: undefined,
  PYTHONPATH: undefined,
}

describe('rewardlab doctor', () => {
  let dir: string
  before(async () => (dir = await mkdtemp(join(tmpdir(), 'doctor-'))))
  after(() => rm(dir, { recursive: true }))

  it('tells devices and versions, and that the device computes', async () => {
    const { code, stdout, stderr } = await rewardlab(['doctor'], plain)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^rewardlab \d+\.\d+\.\d+, Node v\d+.*, tfjs \d/)
    assert.match(stdout, /\nbackend: xla\nplugin: .*\.so \(PJRT \d+\.\d+\)\ndevices: .+\n/)
    assert.match(stdout, /\ncheck: compiled in [\d.]+ ms, ran in [\d.]+ ms, correct\n/)
  })

  it('gives the same as JSON', async () => {
    const { code, stdout, stderr } = await rewardlab(['doctor', '--json'], plain)
    assert.equal(code, 0, stderr)
    const found = JSON.parse(stdout) as Diagnosis
    assert.equal(found.backend, 'xla')
    assert.equal(found.node, process.version)
    assert.ok(found.plugin!.devices.length > 0)
    assert.ok(found.check!.correct)
  })

  it('without a plugin falls back to plain tfjs and says how to get one', async () => {
    // The same program in a folder without .venv.
    for (const name of ['dist', 'node_modules', 'package.json'])
      await symlink(join(packageRoot(), name), join(dir, name))
    const main = join(dir, 'dist/src/cli/main.js')
    const { code, stdout, stderr } = await node(
      ['--preserve-symlinks', '--preserve-symlinks-main', main, 'doctor', '--json'],
      plain,
    )
    assert.equal(code, 0, stderr)
    const missing = /Device cpu: no PJRT plugin found .*pip install xla-cpu-pjrt/
    assert.match(stderr, missing)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
    const found = JSON.parse(stdout) as Diagnosis
    assert.equal(found.backend, 'cpu')
    assert.equal(found.plugin, null)
    assert.match(found.problems.at(-1)!, missing)
  })

  it('refuses in one line what the environment asks for and cannot have', async () => {
    const text = join(dir, 'plugin.so')
    await writeFile(text, 'not a library')
    const cases: [NodeJS.ProcessEnv, RegExp][] = [
      [{ REWARDLAB_DEVICE: 'gpu' }, /Device "gpu" is not known\. Use cuda, tpu, cpu \(REWARDLAB_DEVICE\)/],
      [{ REWARDLAB_DEVICE: 'tpu' }, /Device tpu: (there is no TPU here|no PJRT plugin found in .*pip install libtpu)/],
      [{ REWARDLAB_BACKEND: 'jax' }, /backend "jax" is not known\. Use xla, tensorflow or cpu \(REWARDLAB_BACKEND\)/],
      [{ REWARDLAB_PJRT_PLUGIN: join(dir, 'none.so') }, /REWARDLAB_PJRT_PLUGIN: there is no file .*none\.so/],
      [{ REWARDLAB_PJRT_PLUGIN: text }, /plugin\.so: the plugin cannot be loaded/],
    ]
    const outcomes = await Promise.all(
      cases.map(([environment]) => rewardlab(['doctor'], { ...plain, ...environment })),
    )
    outcomes.forEach(({ code, stdout, stderr }, i) => {
      assert.equal(code, 1)
      assert.equal(stdout, '')
      assert.match(stderr, cases[i]![1])
      assert.equal(stderr.trim().split('\n').length, 1, stderr)
    })
    const { code, stdout } = await rewardlab(['doctor', '--json'], { ...plain, REWARDLAB_BACKEND: 'jax' })
    assert.equal(code, 1)
    assert.match((JSON.parse(stdout) as { error: string }).error, /backend "jax" is not known/)
  })
}).timeout(60_000)
