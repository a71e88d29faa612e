/** Set-up shared by all scripts: installs what is missing or changed, builds dist/, and does nothing twice.
 * Plain Node without dependencies, since it runs before `npm ci`. Every failure is one line and exit code 1. */
import './node-version.mjs'
import { spawn, spawnSync } from 'child_process'
import { createHash } from 'crypto'
import fs from 'fs'
import path from 'path'
import { fileURLToPath } from 'url'

/** The repository's root folder. */
export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
/** The interpreter of the repository's own environment. */
export const python = inRoot('.venv/bin/python')

const log = inRoot('setup.log')
const networkError =
  /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|name resolution|Network is unreachable/

/** Brings the checkout to where JupyterLab, the tests and the kernel can run. */
export function setUp() {
  checkPlatform()
  installNodePackages()
  installPythonPackages()
  build()
  writeKernelSpec()
  writeLabSettings()
}

/** Ends the script with one line: what is wrong, and what to do. */
export function fail(message) {
  console.error(`rewardlab: ${message}`)
  process.exit(1)
}

/** An absolute path from one relative to the root. */
export function inRoot(relative) {
  return path.join(root, relative)
}

/** Runs a Node program of this repository in the foreground and returns its exit code. */
export function runNode(program, args) {
  const { status } = spawnSync(process.execPath, [inRoot(program), ...args], { cwd: root, stdio: 'inherit' })
  return status === null ? 1 : status
}

/** Hands the terminal over to Python; the script ends when it ends, with its exit code. */
export function becomePython(args, env = process.env) {
  const child = spawn(python, args, { cwd: root, env, stdio: 'inherit' })
  process.on('SIGINT', () => {}) // the terminal sends it to the child too, which then ends in its own way
  process.on('SIGTERM', () => child.kill())
  child.on('exit', code => process.exit(code === null ? 1 : code))
}

function checkPlatform() {
  const platform = `${process.platform}-${process.arch}`
  const musl = process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime
  if (musl || !['linux-x64', 'linux-arm64', 'darwin-arm64'].includes(platform)) {
    fail(
      `${platform}${musl ? ' with musl' : ''} is not supported. Use Linux with glibc on x64 or arm64 (on Windows: WSL 2), or macOS on arm64.`,
    )
  }
}

function installNodePackages() {
  once('node_modules/.rewardlab', hash(read('package-lock.json')), () => {
    console.log('Installing Node packages (npm ci) …')
    const patience = ['--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=10000'] // npm's own: 70 s without network
    const { error, status } = logged('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', ...patience])
    if (error) fail('npm was not found on PATH. It comes with Node: install Node with npm, then run again.')
    if (status !== 0) failInstall('npm ci', 'npm registry', /^npm (?:error|ERR!) (?!code|errno|syscall)(.+)$/m)
  })
}

function installPythonPackages() {
  const requirements = ['requirements.txt', ...cudaRequirements()]
  if (!fs.existsSync(python)) fs.rmSync(inRoot('.venv/.rewardlab'), { force: true }) // the interpreter it linked to is gone
  once('.venv/.rewardlab', hash(requirements.map(read).join('\n')), () => {
    console.log(`Installing Python packages into .venv (${requirements.join(', ')}) …`)
    if (process.platform !== 'linux') {
      console.log(`There is no XLA plugin for ${process.platform}: tensors will run on plain tfjs, slowly.`)
    }
    const created = logged(findPython(), ['-m', 'venv', '--clear', inRoot('.venv')])
    if (created.status !== 0) fail(`python -m venv failed: ${lastLine()}. Full output: setup.log`)
    const files = requirements.flatMap(file => ['-r', inRoot(file)])
    const options = ['--no-input', '--disable-pip-version-check', '--only-binary=:all:', '--require-hashes']
    const { status } = logged(python, ['-m', 'pip', 'install', ...options, ...files])
    if (status !== 0) failInstall('pip install', 'Python package index', /^ERROR: (.+)$/m)
    // JupyterLab runs CommonJS tools with Node, which must not take this repository's "type": "module" for them
    fs.writeFileSync(inRoot('.venv/package.json'), '{ "type": "commonjs" }\n')
  })
}

/** CUDA 13 needs driver 580, CUDA 12 driver 525. REWARDLAB_CUDA = 12 or 13 chooses for GPUs that CUDA 13 no longer serves (before
 * Turing), none leaves CUDA out. */
export function cudaRequirements() {
  const driver = /Kernel Module.*?\s(\d+)\.\d/.exec(read('/proc/driver/nvidia/version'))
  if (process.platform !== 'linux' || !driver || process.env.REWARDLAB_CUDA === 'none') return []
  const newest = Number(driver[1]) >= 580 ? '13' : '12'
  if (Number(driver[1]) < 525) {
    fail(
      `the NVIDIA driver is ${driver[1]}; 525 or later is needed. Update it, or set REWARDLAB_CUDA=none to run on the CPU.`,
    )
  }
  return [`requirements-cuda${process.env.REWARDLAB_CUDA || newest}.txt`]
}

/** The real path of a Python that can make a virtual environment: it outlives links that a later upgrade moves. */
export function findPython() {
  const probe = [
    'import os, sys',
    'print("%d.%d" % sys.version_info[:2])',
    'print(os.path.realpath(sys.executable))',
    'import ensurepip, venv',
  ].join('\n')
  const problems = []
  for (const command of ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11', 'python3.10']) {
    const { error, status, stdout } = spawnSync(command, ['-c', probe], { encoding: 'utf8' })
    const [version, file] = error ? [] : stdout.split('\n')
    if (!file) continue
    const minor = version.startsWith('3.') ? Number(version.slice(2)) : 0
    if (minor < 10)
      problems.push(
        `${command} is Python ${version}; 3.10 or later is needed. Install one (Debian, Ubuntu: apt install python3 python3-venv), then run again.`,
      )
    else if (status !== 0)
      problems.push(
        `${command} (Python ${version}) has no venv module. Install it (Debian, Ubuntu: apt install python${version}-venv), then run again.`,
      )
    else return file
  }
  return fail(
    problems[0] ||
      'Python was not found on PATH; 3.10 or later is needed. Install it (Debian, Ubuntu: apt install python3 python3-venv), then run again.',
  )
}

function build() {
  const folders = ['src', 'kernels', 'test']
  const sources = folders.flatMap(folder => list(folder, /\.[cm]?ts$/))
  const state = ['tsconfig.json', 'package-lock.json', ...sources].map(file => {
    const { mtimeMs, size } = fs.statSync(inRoot(file))
    return `${file} ${mtimeMs} ${size}`
  })
  once('dist/.rewardlab', hash(state.join('\n')), () => {
    console.log('Building dist/ …')
    if (runNode('node_modules/typescript/bin/tsc', ['-p', inRoot('tsconfig.json')]) !== 0) {
      fail('the build found type errors (above). Correct them, then run again.')
    }
    const current = new Set(sources.map(file => file.replace(/ts$/, '')))
    for (const file of folders.flatMap(folder => list(`dist/${folder}`, /\.([cm]?js(\.map)?|d\.[cm]?ts)$/))) {
      const source = file.slice('dist/'.length).replace(/(js(\.map)?|d\.([cm]?)ts)$/, '$3')
      if (!current.has(source)) fs.rmSync(inRoot(file))
    }
  })
}

function writeKernelSpec() {
  const file = inRoot('.venv/share/jupyter/kernels/rewardlab/kernel.json')
  const spec = {
    argv: [process.execPath, inRoot('dist/kernels/main.js'), '{connection_file}'],
    display_name: 'TypeScript (rewardlab)',
    language: 'typescript',
    interrupt_mode: 'message',
    env: { UV_THREADPOOL_SIZE: '8' }, // koffi's asynchronous calls wait there
  }
  const text = JSON.stringify(spec, null, 2) + '\n'
  if (read(file) === text) return
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}

/** Widgets are saved with their notebook, so that it shows them when it is opened again. */
function writeLabSettings() {
  const file = inRoot('.venv/share/jupyter/lab/settings/overrides.json')
  fs.mkdirSync(path.dirname(file), { recursive: true })
  const settings = { '@jupyter-widgets/jupyterlab-manager:plugin': { saveState: true } }
  fs.writeFileSync(file, JSON.stringify(settings, null, 2) + '\n')
}

/** Does work unless its stamp says that it was done for this key. The stamp is written last: interrupted work starts over. */
export function once(stamp, key, work) {
  if (read(stamp) === key) return
  fs.rmSync(inRoot(stamp), { force: true })
  work()
  fs.writeFileSync(inRoot(stamp), key)
}

/** Runs a command with all its output going to setup.log. */
export function logged(command, args) {
  const output = fs.openSync(log, 'w')
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', output, output] })
  fs.closeSync(output)
  return result
}

export function failInstall(step, registry, errorLine) {
  const output = read('setup.log')
  if (networkError.test(output))
    fail(`${step} could not reach the ${registry}. Check the network or proxy, then run again.`)
  const match = errorLine.exec(output)
  fail(`${step} failed: ${match ? match[1].trim() : lastLine()}. Full output: setup.log`)
}

function lastLine() {
  return read('setup.log').trim().split('\n').pop()
}

/** The text of a file, or '' when there is none. */
export function read(file) {
  const absolute = path.resolve(root, file)
  return fs.existsSync(absolute) ? fs.readFileSync(absolute, 'utf8') : ''
}

/** Files below a folder, relative to the root, whose names match; sorted. */
function list(folder, pattern) {
  if (!fs.existsSync(inRoot(folder))) return []
  const names = fs.readdirSync(inRoot(folder), { recursive: true }).filter(name => pattern.test(name))
  return names.map(name => `${folder}/${name}`).sort()
}

export function hash(text) {
  return createHash('sha256').update(text).digest('hex')
}
