/** `npm run setup:tensorflow`: TensorFlow as a backend (`REWARDLAB_BACKEND=tensorflow`), in .tensorflow/. Optional: nothing else needs it.
 *
 * The installer of @tensorflow/tfjs-node 4.22.0 fetches TensorFlow 2.9 (its GPU variant with CUDA 11.2). Here its unmodified binding is
 * compiled against the headers and libraries of a current TensorFlow wheel instead; with an NVIDIA driver, against the CUDA 12 wheel. */
import { cudaRequirements, fail, failInstall, hash, inRoot, logged, once, python, read, setUp } from './setup.mjs'
import { spawnSync } from 'child_process'
import fs from 'fs'

setUp()

const gpu = process.arch === 'x64' && cudaRequirements().length > 0 // TensorFlow's arm64 wheel has no GPU part
const name = gpu ? 'tfjs-node-gpu' : 'tfjs-node'
const requirements = gpu ? 'requirements-tensorflow-cuda12.txt' : 'requirements-tensorflow.txt'
const folder = inRoot('.tensorflow')
const modules = `${folder}/node_modules`
const wheel = `${folder}/python/tensorflow`

const inputs = [requirements, 'scripts/tensorflow/package-lock.json', 'scripts/setup-tensorflow.mjs']
once('.tensorflow/.rewardlab', hash(inputs.map(read).join('\n')), () => {
  if (process.platform !== 'linux')
    fail(
      `the TensorFlow backend is built on Linux only, not on ${process.platform}. Use plain tfjs: REWARDLAB_BACKEND=cpu.`,
    )
  if (spawnSync('g++', ['--version']).error)
    fail(
      'g++ was not found on PATH; the TensorFlow backend is compiled with it. Install it (Debian, Ubuntu: apt install g++), then run again.',
    )
  fs.rmSync(folder, { recursive: true, force: true })
  fs.cpSync(inRoot('scripts/tensorflow'), folder, { recursive: true })
  installWheel()
  installPackage()
  compileBinding()
})
console.log(
  `The TensorFlow backend is set up (@tensorflow/${name} in .tensorflow). Use it with REWARDLAB_BACKEND=tensorflow.`,
)

/** TensorFlow's libraries and headers. Any Python version's wheel holds the same ones. */
function installWheel() {
  console.log(`Installing TensorFlow into .tensorflow/python (${requirements}) …`)
  const options = ['--no-input', '--disable-pip-version-check', '--only-binary=:all:', '--require-hashes']
  const place = ['--no-deps', '--no-compile', '--python-version', '3.12', '--target', `${folder}/python`]
  const { status } = logged(python, ['-m', 'pip', 'install', ...options, ...place, '-r', inRoot(requirements)])
  if (status !== 0) failInstall('pip install', 'Python package index', /^ERROR: (.+)$/m)
}

/** The npm package without its installer, and without a tfjs of its own: it finds the repository's above this folder. */
function installPackage() {
  console.log(`Installing @tensorflow/${name} …`)
  const { status } = logged('npm', ['ci', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund'])
  if (status !== 0) failInstall('npm ci', 'npm registry', /^npm (?:error|ERR!) (?!code|errno|syscall)(.+)$/m)
  const other = gpu ? 'tfjs-node' : 'tfjs-node-gpu'
  for (const unused of [other, 'tfjs-core', 'tfjs-layers', 'tfjs-backend-cpu'])
    fs.rmSync(`${modules}/@tensorflow/${unused}`, { recursive: true })
}

function compileBinding() {
  console.log('Compiling its binding (g++) …')
  const source = `${modules}/@tensorflow/${name}`
  const target = `${source}/lib/napi-v8`
  fs.mkdirSync(target, { recursive: true })
  const language = ['-std=c++17', '-O2', '-s', '-fPIC', '-shared', '-DNAPI_VERSION=8']
  const headers = [`${modules}/node-api-headers/include`, `${wheel}/include`, source].map(include => `-I${include}`)
  const sources = ['tfjs_backend.cc', 'tfjs_binding.cc'].map(file => `${source}/binding/${file}`)
  const libraries = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'].map(file => `${wheel}/${file}`)
  const search = '-Wl,-rpath,$ORIGIN/../../../../../python/tensorflow' // from the binding's folder: .tensorflow may be moved
  const output = ['-o', `${target}/tfjs_binding.node`]
  const compiled = logged('g++', [...language, ...headers, ...sources, ...libraries, search, ...output])
  if (compiled.status !== 0) fail('the binding of @tensorflow/tfjs-node did not compile. Full output: setup.log')
  const loaded = logged(process.execPath, ['-e', `require('${source}')`])
  if (loaded.status !== 0) fail('TensorFlow was built but cannot be loaded. Full output: setup.log')
}
