import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { packageRoot } from '../../src/xla/index.js'

const library = fileURLToPath(new URL('../../src/xla/index.js', import.meta.url))

interface Outcome {
  out: string
  warnings: string[]
  status: number
}

/** Runs a program in a process of its own, with this copy of the library. */
function run(program: string, environment: NodeJS.ProcessEnv, from = library): Outcome {
  const head = `import { start, jit, scan, random, stats } from '${pathToFileURL(from).href}'
    import { createRequire } from 'node:module'
    const tf = createRequire('${from}')('@tensorflow/tfjs-core')`
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--preserve-symlinks', '--input-type=module', '-e', `${head}\n${program}`],
    { env: { ...process.env, ...environment }, encoding: 'utf8' },
  )
  return { out: stdout.trim(), warnings: stderr.split('\n').filter(line => line !== ''), status: status ?? -1 }
}

const UNSET = { REWARDLAB_PJRT_PLUGIN: '', REWARDLAB_BACKEND: '', REWARDLAB_DEVICE: '' }
const TRAIN = `
await start()
const step = jit((w, x) => tf.sub(w, tf.grad(v => tf.sum(tf.square(tf.sub(v, x))))(w)))
const [last] = scan((c, x) => [tf.add(c, x), null], tf.scalar(0), tf.tensor1d([1, 2, 3]))
const w = await step.async(tf.scalar(1), tf.scalar(3))
console.log(JSON.stringify([tf.getBackend(), w.dataSync()[0], last.dataSync()[0], [...random.key(7).dataSync()], stats() === null]))
`

describe('start', function () {
  this.timeout(30_000)

  it('without a plugin: one warning that says what to do, and the program works', () => {
    const bare = mkdtempSync(join(tmpdir(), 'rewardlab-bare-')) // an installation with no .venv
    try {
      const root = packageRoot()
      cpSync(join(root, 'package.json'), join(bare, 'package.json'))
      for (const folder of ['node_modules', relative(root, library).split('/')[0]!])
        symlinkSync(join(root, folder), join(bare, folder))
      const nowhere = { ...UNSET, VIRTUAL_ENV: '', CONDA_PREFIX: '', PYTHONPATH: '' }
      const { out, warnings, status } = run(TRAIN, nowhere, join(bare, relative(root, library)))
      assert.equal(status, 0, warnings.join('\n'))
      assert.deepEqual(JSON.parse(out), ['cpu', 5, 6, [0, 7], true])
      assert.equal(warnings.length, 1, warnings.join('\n'))
      assert.match(warnings[0]!, /No PJRT plugin found.*pip install/)
    } finally {
      rmSync(bare, { recursive: true })
    }
  })

  it('asked for a plugin that is not there, it insists', () => {
    const { warnings, status } = run('await start()', { ...UNSET, REWARDLAB_PJRT_PLUGIN: '/nowhere/plugin.so' })
    assert.notEqual(status, 0)
    assert.match(warnings.join('\n'), /no file \/nowhere\/plugin\.so/)
  })

  it('asked for plain tfjs, it says nothing', () => {
    const { out, warnings } = run(TRAIN, { ...UNSET, REWARDLAB_BACKEND: 'cpu' })
    assert.deepEqual(JSON.parse(out), ['cpu', 5, 6, [0, 7], true])
    assert.deepEqual(warnings, [])
  })

  it('refuses names it does not know', () => {
    const told = (environment: NodeJS.ProcessEnv) =>
      run('await start()', { ...UNSET, ...environment }).warnings.join('\n')
    assert.match(told({ REWARDLAB_BACKEND: 'webgl' }), /backend "webgl" is not known/)
    assert.match(told({ REWARDLAB_DEVICE: 'abacus' }), /Device "abacus" is not known/)
  })

  it('gives the same values on both, and leaves the process cleanly', () => {
    const { out, warnings, status } = run(TRAIN, { REWARDLAB_BACKEND: 'xla' })
    assert.equal(status, 0, warnings.join('\n'))
    assert.deepEqual(JSON.parse(out), ['xla', 5, 6, [0, 7], false])
  })
})
