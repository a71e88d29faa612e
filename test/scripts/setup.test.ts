import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const scripts = path.resolve(import.meta.dirname, '../../../scripts')

/** Stands for npm: notes the call, "installs" a compiler that notes its calls too, or elsewhere the binding to TensorFlow. */
const npm = `
fs.appendFileSync('calls', 'npm ' + args[0] + '\\n')
if (process.env.NPM_SAYS) { console.error(process.env.NPM_SAYS); process.exit(1) }
if (args[1] === '--prefix') {
  for (const name of ['tfjs-node', 'tfjs-node-gpu', 'tfjs-core', 'tfjs-layers', 'tfjs-backend-cpu']) {
    fs.mkdirSync(args[2] + '/node_modules/@tensorflow/' + name, { recursive: true })
    fs.writeFileSync(args[2] + '/node_modules/@tensorflow/' + name + '/index.js', '')
  }
  process.exit(0)
}
fs.mkdirSync('node_modules/typescript/bin', { recursive: true })
fs.writeFileSync('node_modules/typescript/bin/tsc', \`
  const fs = require('fs')
  fs.appendFileSync('calls', 'tsc\\\\n')
  fs.mkdirSync('dist/src', { recursive: true })
  process.exit(Number(process.env.TSC_CODE || 0))\`)
`

/** Stands for Python: answers the probe, "creates" an environment that holds itself, notes the calls. */
const python = `
if (args[0] === '-c') {
  console.log(process.env.PYTHON_VERSION || '3.11')
  console.log(process.argv[1])
  process.exit(process.env.NO_VENV ? 1 : 0)
}
fs.appendFileSync('calls', args.filter(arg => /^(venv|pip)$|requirements/.test(arg)).map(arg => path.basename(arg)).join(' ') + '\\n')
if (args[1] === 'venv') {
  fs.rmSync(args[3], { recursive: true, force: true })
  fs.mkdirSync(args[3] + '/bin', { recursive: true })
  fs.copyFileSync(process.argv[1], args[3] + '/bin/python')
}
if (args[1] === 'pip' && process.env.PIP_SAYS) { console.error(process.env.PIP_SAYS); process.exit(1) }
`

/** Stands for the compiler of C++: notes the call, "compiles". */
const gxx = `
if (args[0] === '--version') process.exit(0)
fs.appendFileSync('calls', 'g++\\n')
if (process.env.GXX_SAYS) { console.error(process.env.GXX_SAYS); process.exit(1) }
fs.writeFileSync(args[args.length - 1], '')
`

/** An NVIDIA driver of some version, for the process that runs this. */
const driver = (version: string) => `const { existsSync, readFileSync } = fs
  const file = '/proc/driver/nvidia/version'
  fs.existsSync = name => name === file || existsSync(name)
  fs.readFileSync = (name, ...rest) => name === file ? 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  ${version}  Release' : readFileSync(name, ...rest)`

describe('set-up', () => {
  let root: string

  beforeEach(() => {
    root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'rewardlab-setup-')))
    fs.cpSync(scripts, path.join(root, 'scripts'), { recursive: true })
    for (const file of ['package.json', 'package-lock.json', 'tsconfig.json']) write(file, '{}')
    for (const file of ['requirements.txt', 'src/a.ts']) write(file, '')
    write('bin/npm', program(npm), 0o755)
    write('bin/python3', program(python), 0o755)
  })

  afterEach(() => fs.rmSync(root, { recursive: true, force: true }))

  it('installs everything once, then nothing', () => {
    assert.deepEqual(run().calls, ['npm ci', 'venv', 'pip requirements.txt', 'tsc'])
    assert.deepEqual(run(), { calls: [], code: 0, errors: [], output: '' })
  })

  it('repeats only what a change touches', () => {
    run()
    write('package-lock.json', '{ "lockfileVersion": 3 }')
    assert.deepEqual(run().calls, ['npm ci', 'tsc'])
    write('requirements.txt', 'jupyterlab')
    assert.deepEqual(run().calls, ['venv', 'pip requirements.txt'])
    write('src/b.ts', 'export {}')
    assert.deepEqual(run().calls, ['tsc'])
    fs.rmSync(path.join(root, '.venv/bin/python')) // as when the Python it links to was uninstalled
    assert.deepEqual(run().calls, ['venv', 'pip requirements.txt'])
  })

  it('removes the outputs of removed sources', () => {
    for (const file of ['src/a.js', 'src/a.d.ts', 'src/gone.js', 'src/gone.js.map', 'src/gone.d.ts'])
      write(`dist/${file}`, '')
    run()
    assert.deepEqual(fs.readdirSync(path.join(root, 'dist/src')), ['a.d.ts', 'a.js'])
  })

  it('takes up interrupted work again', () => {
    assert.equal(run({ PIP_SAYS: 'Killed' }).code, 1)
    assert.deepEqual(run().calls, ['venv', 'pip requirements.txt', 'tsc'])
    write('src/a.ts', 'export const a = 1')
    assert.equal(run({ TSC_CODE: '2' }).code, 1)
    assert.deepEqual(run().calls, ['tsc'])
  })

  it('writes a kernelspec with absolute paths that follows a moved checkout', () => {
    const file = '.venv/share/jupyter/kernels/rewardlab/kernel.json'
    run()
    assert.deepEqual(JSON.parse(read(file)), {
      argv: [process.execPath, path.join(root, 'dist/kernels/main.js'), '{connection_file}'],
      display_name: 'TypeScript (rewardlab)',
      language: 'typescript',
      interrupt_mode: 'message',
      env: { UV_THREADPOOL_SIZE: '8' },
    })
    const moved = `${root}-moved`
    fs.renameSync(root, moved)
    root = moved
    assert.deepEqual(run().calls, [])
    assert.match(read(file), /-moved\/dist\/kernels\/main\.js/)
  })

  it('adds the CUDA plugin that the NVIDIA driver can run', () => {
    for (const file of ['requirements-cuda12.txt', 'requirements-cuda13.txt']) write(file, file)
    const pip = (version: string, cuda: string) =>
      run({ REWARDLAB_CUDA: cuda }, driver(version)).calls.find(call => /pip/.test(call))
    assert.equal(pip('580.65.06', ''), 'pip requirements.txt requirements-cuda13.txt')
    assert.equal(pip('550.54.15', ''), 'pip requirements.txt requirements-cuda12.txt')
    assert.equal(pip('580.65.06', 'none'), 'pip requirements.txt')
    assert.equal(pip('580.65.06', '12'), 'pip requirements.txt requirements-cuda12.txt')
    assertError({ REWARDLAB_CUDA: '' }, /driver is 470; 525 or later.*REWARDLAB_CUDA=none/, driver('470.10'))
  })

  describe('says in one line what is wrong and what to do', () => {
    it('old Node', () => {
      const old = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } })"
      assertError({}, /^rewardlab: Node 18\.20\.4 is too old; 20\.19 or later is needed\. Install/, old)
    })
    it('unsupported platform', () => {
      const windows = "Object.defineProperty(process, 'platform', { value: 'win32' })"
      assertError({}, /^rewardlab: win32-\w+ is not supported\. Use Linux/, windows)
    })
    it('no Python', () => {
      fs.rmSync(path.join(root, 'bin/python3'))
      assertError({}, /^rewardlab: Python was not found on PATH; 3\.10 or later is needed\. Install/)
    })
    it('old Python', () =>
      assertError({ PYTHON_VERSION: '3.9' }, /^rewardlab: python3 is Python 3\.9; 3\.10 or later .*Install/))
    it('Python 2', () => assertError({ PYTHON_VERSION: '2.7' }, /^rewardlab: python3 is Python 2\.7; 3\.10 or later/))
    it('no venv module', () =>
      assertError({ NO_VENV: '1' }, /^rewardlab: python3 \(Python 3\.11\) has no venv module.*python3\.11-venv/))
    it('no npm', () => {
      fs.rmSync(path.join(root, 'bin/npm'))
      assertError({}, /^rewardlab: npm was not found on PATH.*install Node with npm/)
    })
    it('npm without network', () =>
      assertError(
        { NPM_SAYS: 'npm error code EAI_AGAIN' },
        /^rewardlab: npm ci could not reach the npm registry\. Check the network/,
      ))
    it('pip without network', () =>
      assertError(
        { PIP_SAYS: 'WARNING: Retrying after NewConnectionError\nERROR: No matching distribution found for anyio' },
        /^rewardlab: pip install could not reach the Python package index\. Check the network/,
      ))
    it('a lock file out of date', () =>
      assertError(
        { NPM_SAYS: 'npm error code EUSAGE\nnpm error\nnpm error Out of sync' },
        /npm ci failed: Out of sync\. Full output: setup\.log/,
      ))
    it('a package that does not match its hash', () =>
      assertError(
        { PIP_SAYS: 'ERROR: HASHES DO NOT MATCH' },
        /pip install failed: HASHES DO NOT MATCH\. Full output: setup\.log/,
      ))
    it('type errors', () =>
      assertError({ TSC_CODE: '2' }, /^rewardlab: the build found type errors \(above\)\. Correct them/))
  })

  it('takes a later Python when python3 is too old', () => {
    write('bin/python3.12', program(python).replace('process.env.PYTHON_VERSION', "'3.12'"), 0o755)
    assert.equal(run({ PYTHON_VERSION: '3.8' }).code, 0)
  })

  describe('of the TensorFlow backend', () => {
    const script = './scripts/setup-tensorflow.mjs'
    const base = ['npm ci', 'venv', 'pip requirements.txt', 'tsc']

    beforeEach(() => write('bin/g++', program(gxx), 0o755))

    it('comes after the other, once; a tfjs of its own is not kept', () => {
      const { calls, output } = run({}, '', script)
      assert.deepEqual(calls, [...base, 'pip requirements-tensorflow.txt', 'npm ci', 'g++'])
      assert.match(
        output,
        /set up \(@tensorflow\/tfjs-node in \.tensorflow\)\. Use it with REWARDLAB_BACKEND=tensorflow\./,
      )
      assert.deepEqual(fs.readdirSync(path.join(root, '.tensorflow/node_modules/@tensorflow')), ['tfjs-node'])
      assert.deepEqual(run({}, '', script).calls, [])
    })

    it('takes the GPU variant where there is an NVIDIA driver', function () {
      if (process.arch !== 'x64') return this.skip() // TensorFlow has no wheel for GPUs on arm64
      const { calls, output } = run({ REWARDLAB_CUDA: '' }, driver('580.65.06'), script)
      assert.ok(calls.includes('pip requirements-tensorflow-cuda12.txt'), calls.join())
      assert.match(output, /@tensorflow\/tfjs-node-gpu in/)
    })

    it('says in one line what is missing, and goes on from there', () => {
      fs.rmSync(path.join(root, 'bin/g++'))
      const missing = run({}, '', script)
      assert.deepEqual([missing.code, missing.calls], [1, base])
      assert.match(
        missing.errors.join('\n'),
        /^rewardlab: g\+\+ was not found on PATH;.*apt install g\+\+\), then run again\.$/,
      )
      write('bin/g++', program(gxx), 0o755)
      const failing = run({ GXX_SAYS: 'no memory' }, '', script)
      assert.match(failing.errors.join('\n'), /^rewardlab: the binding .* did not compile\. Full output: setup\.log$/)
      assert.equal(run({}, '', script).code, 0)
    })
  })

  function assertError(env: Record<string, string>, line: RegExp, preload?: string) {
    const { code, errors } = run(env, preload)
    assert.equal(errors.length, 1, errors.join('\n'))
    assert.match(errors[0]!, line)
    assert.equal(code, 1)
  }

  /** Runs a set-up where only the stand-ins are on PATH.
   * @param preload statements run before it */
  function run(env: Record<string, string> = {}, preload = '', script = '') {
    write('calls', '')
    const setUp = script ? `await import('${script}')` : "(await import('./scripts/setup.mjs')).setUp()"
    const code = `import fs from 'fs'; ${preload}; ${setUp}`
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      cwd: root,
      env: { PATH: path.join(root, 'bin'), REWARDLAB_CUDA: 'none', ...env },
      encoding: 'utf8',
    })
    return { code: status, output: stdout, errors: lines(stderr), calls: lines(read('calls')) }
  }

  function read(file: string) {
    return fs.readFileSync(path.join(root, file), 'utf8')
  }

  function write(file: string, text: string, mode = 0o644) {
    fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true })
    fs.writeFileSync(path.join(root, file), text, { mode })
  }
})

/** An executable file of Node statements: nothing else need be on PATH. */
function program(statements: string) {
  return `#!${process.execPath}\nconst fs = require('fs'), path = require('path'), args = process.argv.slice(2)\n${statements}`
}

function lines(text: string) {
  return text.split('\n').filter(line => line !== '')
}
