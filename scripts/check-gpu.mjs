/** `npm run check:gpu`: conformance, the optimizers' tests and updates by each method on the GPU of this machine, in one table.
 * `-- PART…` runs some of them. `-- --bundle DIR` writes all of it into a folder, for a machine that has a GPU but neither this
 * checkout nor a network: there, `sh run.sh` needs Node and a Python whose site-packages hold the CUDA plugin. Nothing of this was ever run on a GPU. */
import { fail, inRoot, runNode, setUp } from './setup.mjs'
import { spawnSync } from 'child_process'
import fs from 'fs'
import path from 'path'

const RUN = `#!/bin/sh
# Runs the checks on the GPU of this machine. NODE: Node 20.19 or later. PYTHON: a Python with jax-cuda13-pjrt (or 12) and its nvidia-* libraries.
set -e
cd "$(dirname "$0")"
: "\${PYTHONPATH:=$("\${PYTHON:-python3}" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')}"
export PYTHONPATH
exec "\${NODE:-node}" dist/test/gpu/main.js "$@"
`

/** What packages in CommonJS expect of a module. */
const COMMONJS = `import { createRequire as from } from 'node:module'
const require = from(import.meta.url), __dirname = import.meta.dirname`

const args = process.argv.slice(2)
const folder =
  args[0] === '--bundle'
    ? path.resolve(args[1] || fail('--bundle needs a folder: npm run check:gpu -- --bundle DIR'))
    : ''
if (folder && fs.existsSync(folder) && fs.readdirSync(folder).length > 0)
  fail(`${folder} is not empty. Name a new folder.`)

setUp()

if (folder) bundle()
else process.exit(runNode('dist/test/gpu/main.js', args))

/** The programs, each one file at its usual place, with the data that they read, the one native library, and what the CPU computed. */
async function bundle() {
  const inFolder = file => path.join(folder, file)
  const { build } = await import('esbuild')
  const { bundleSpecs } = await import(inRoot('dist/test/conformance/bundle.js'))
  const packages = [`@koromix/koffi-linux-${process.arch}`, 'jasmine-core'] // a native library; what reads its own folder
  const options = {
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: [...packages, '*/bundle.js'], // what bundles the specs, which is done here
    ignoreAnnotations: true, // packages marked free of side effects register kernels and gradients
    logLevel: 'error',
    banner: { js: COMMONJS },
  }
  const programs = ['gpu/main', 'gpu/steps', 'conformance/main', 'bench/rewardlab']
  const entryPoints = programs.map(program => inRoot(`dist/test/${program}.js`))
  await build({ ...options, entryPoints, outbase: inRoot('dist'), outdir: inFolder('dist') })
  const stdin = { contents: testProgram(), resolveDir: inRoot('dist/test/gpu') }
  await build({ ...options, stdin, outfile: inFolder('dist/test/gpu/tests.js') })
  await bundleSpecs(inFolder('dist/conformance/specs.cjs'))

  const carried = ['data/models/tiny-qwen2', 'test/fixtures', ...packages.map(name => `node_modules/${name}`)]
  for (const part of carried) fs.cpSync(inRoot(part), inFolder(part), { recursive: true })
  fs.writeFileSync(inFolder('package.json'), '{ "type": "module" }\n')
  fs.writeFileSync(inFolder('run.sh'), RUN)

  console.log('Computing on the CPU what the GPU is compared with …')
  const env = { ...process.env, REWARDLAB_BACKEND: 'xla', REWARDLAB_DEVICE: 'cpu' }
  const { status, stdout } = spawnSync(process.execPath, [inRoot('dist/test/gpu/steps.js')], {
    env,
    encoding: 'utf8',
  })
  if (status !== 0) fail('the updates on the CPU failed.')
  fs.writeFileSync(inFolder('dist/test/gpu/reference.json'), stdout)
  console.log(`Written: ${folder}. On the machine with the GPU: sh run.sh`)
}

/** test/gpu/tests.ts with its imports written out. */
function testProgram() {
  const files = ['nn', 'optimizers'].flatMap(folder =>
    fs.readdirSync(inRoot(`dist/test/${folder}`)).map(file => `../${folder}/${file}`),
  )
  const imports = files.filter(file => file.endsWith('.test.js')).map(file => `  await import('${file}')`)
  const run = ['const results = await runTests(async () => {', ...imports, '})', 'console.log(JSON.stringify(results))']
  return ["import { runTests } from './runTests.js'", ...run].join('\n')
}
