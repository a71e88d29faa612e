import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
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

  describe('in an installation without .venv and .tensorflow', () => {
    const root = packageRoot()
    const nowhere = { ...UNSET, VIRTUAL_ENV: '', CONDA_PREFIX: '', PYTHONPATH: '' }
    let bare: string
    let from: string
    before(() => {
      bare = mkdtempSync(join(tmpdir(), 'rewardlab-bare-'))
      from = join(bare, relative(root, library))
      cpSync(join(root, 'package.json'), join(bare, 'package.json'))
      for (const folder of ['node_modules', relative(root, library).split('/')[0]!])
        symlinkSync(join(root, folder), join(bare, folder))
    })
    after(() => rmSync(bare, { recursive: true }))

    it('gives one warning that says what to do, and the program works', () => {
      const { out, warnings, status } = run(TRAIN, nowhere, from)
      assert.equal(status, 0, warnings.join('\n'))
      assert.deepEqual(JSON.parse(out), ['cpu', 5, 6, [0, 7], true])
      assert.equal(warnings.length, 1, warnings.join('\n'))
      assert.match(warnings[0]!, /^Running on plain tfjs, slowly\. Device cpu: no PJRT plugin found.*pip install/)
    })

    it('says how to get TensorFlow', () => {
      const { warnings, status } = run('await start()', { ...nowhere, REWARDLAB_BACKEND: 'tensorflow' }, from)
      assert.notEqual(status, 0)
      assert.match(warnings.join('\n'), /"tensorflow" is not set up\. Run "npm run setup:tensorflow"/)
    })
  })

  describe('on a machine with an NVIDIA driver, whose CUDA plugin cannot be loaded', () => {
    let site: string
    before(() => {
      site = mkdtempSync(join(tmpdir(), 'rewardlab-site-'))
      const plugin = join(site, 'jax_plugins/xla_cuda13/xla_cuda_plugin.so')
      mkdirSync(dirname(plugin), { recursive: true })
      writeFileSync(plugin, 'not a library')
    })
    after(() => rmSync(site, { recursive: true }))

    const on = (nvidiaDriver: number, program: string) =>
      run(
        `import { sitePackages } from '${pathToFileURL(join(dirname(library), 'plugins.js')).href}'
        const machine = { nvidiaDriver: ${nvidiaDriver}, tpu: false, sitePackages: ['${site}', ...sitePackages()] }
        ${program}`,
        UNSET,
      )

    it('goes on with the CPU plugin, after one warning', () => {
      const { out, warnings, status } = on(580.65, TRAIN.replace('start()', 'start({}, machine)'))
      assert.equal(status, 0, warnings.join('\n'))
      assert.deepEqual(JSON.parse(out), ['xla', 5, 6, [0, 7], false])
      assert.equal(warnings.length, 1, warnings.join('\n'))
      assert.match(
        warnings[0]!,
        /^Running on cpu\. Device cuda: .*xla_cuda_plugin\.so: the plugin cannot be loaded: .* lacks nvidia\/cu13\/lib,/,
      )
    })

    for (const [driver, why] of [
      [580.65, /Device cuda: .*the plugin cannot be loaded/],
      [550.54, /Device cuda: the plugin here needs NVIDIA driver 580, this one is 550\.54/],
    ] as const)
      it(`asked for CUDA under driver ${driver}, it says why not; then the CPU may be asked for`, () => {
        const { out, warnings, status } = on(
          driver,
          `await start({ device: 'cuda' }, machine).catch(error => console.log(error.message))
          await start({ device: 'cpu' }, machine)
          console.log(tf.add(1, 2).dataSync()[0], tf.getBackend())`,
        )
        const [error, result] = out.split('\n')
        assert.equal(status, 0, warnings.join('\n'))
        assert.match(error!, why)
        assert.equal(result, '3 xla')
        assert.deepEqual(warnings, [])
      })
  })

  it('gives a plugin its own options, which it understands', () => {
    const from = (file: string) => `from '${pathToFileURL(join(dirname(library), file)).href}'`
    const { out } = run(
      `import { PjrtApi } ${from('pjrt/api.js')}
      import { PjrtClient } ${from('pjrt/client.js')}
      import { findPlugins } ${from('plugins.js')}
      const [{ path }] = findPlugins('cpu')
      console.log(new PjrtClient(new PjrtApi(path), { cpu_device_count: 3n }).devices.length)`,
      UNSET,
    )
    assert.equal(out, '3')
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

  it('on plain tfjs a jitted function leaves behind what a program would: its result, and not what it was donated', () => {
    const { out } = run(
      `await start()
      const step = jit(([w, kept], x) => [tf.add(w, tf.mul(x, 2)), kept], { donate: [0] })
      const [state, x] = [[tf.scalar(1), tf.scalar(5)], tf.scalar(3)]
      const next = step(state, x)
      console.log(JSON.stringify([next.map(t => t.dataSync()[0]), state.map(t => t.isDisposed), tf.memory().numTensors]))`,
      { ...UNSET, REWARDLAB_BACKEND: 'cpu' },
    )
    assert.deepEqual(JSON.parse(out), [[7, 5], [true, false], 3])
  })

  it('on plain tfjs loops leave behind their results', () => {
    const { out } = run(
      `await start()
      const { whileLoop } = await import('${pathToFileURL(library).href}')
      const [init, xs] = [tf.scalar(1), tf.tensor1d([1, 2, 3])]
      const looped = whileLoop(({ n }) => tf.less(n, 9), ({ n, one }) => ({ n: tf.add(tf.mul(n, 2), 0), one }), { n: init, one: init })
      const [last, all] = scan((c, x) => [tf.add(tf.mul(c, 1), x), tf.mul(x, 2)], init, xs)
      const read = ts => ts.map(t => t.arraySync())
      console.log(JSON.stringify([read([looped.n, looped.one, last, all, init]), tf.memory().numTensors]))`,
      { ...UNSET, REWARDLAB_BACKEND: 'cpu' },
    )
    assert.deepEqual(JSON.parse(out), [[16, 1, 7, [2, 4, 6], 1], 5])
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
