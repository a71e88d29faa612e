/* rewardlab as others get it: `npm pack`, `npm install` of the tarball in a new folder, `rewardlab-kernel`, and a notebook there, with a PJRT
 * plugin in the Python environment and without one. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../../src/xla/index.js'

const CELLS = [
  `import * as xla from 'rewardlab/xla'
await xla.start()
console.log('backend:', xla.platform()?.platform ?? 'tfjs')
console.log('root:', xla.packageRoot())`,
  `import { arithmeticProblems } from 'rewardlab/datasets'
import { accuracy } from 'rewardlab/metrics'
import { sft } from 'rewardlab/optimizers'
import { learningCurves } from 'rewardlab/plots'
import { loadPolicy } from 'rewardlab/policies'
import { exactAnswer } from 'rewardlab/rewards'
import { createRun } from 'rewardlab/runs'
import { slider } from 'rewardlab/widgets'
import own from 'own-package'
import { local } from './local.ts'
import * as tf from '@tensorflow/tfjs-core'
const texts: string[] = [own(), local]
console.log(...texts)`,
  `const policy = await loadPolicy(\`\${xla.packageRoot()}/data/models/tiny-qwen2\`)
const run = await sft(policy, arithmeticProblems({ seed: 1, size: 40 }).train, { max_steps: 2, learning_rate: 1e-3 }).done()
console.log('losses:', run.rows.map(row => row.loss).join())
learningCurves([run], { metric: 'loss' })`,
]
const root = packageRoot()
const run = promisify(execFile)
const dir = await realpath(await mkdtemp(join(tmpdir(), 'rewardlab-package-')))
const project = join(dir, 'project')
const environment = join(dir, 'environment')

interface Executed {
  readonly cells: { readonly outputs: { readonly text?: string[]; readonly data?: Record<string, unknown> }[] }[]
}

/** Executes the notebook and returns what it printed, and the types of its last result.
 * @param prefix of the Python environment that the kernel is registered for */
async function execute(prefix: string): Promise<{ text: string; types: string[] }> {
  await run(join(project, 'node_modules/.bin/rewardlab-kernel'), ['--prefix', prefix, '--name', 'rewardlab'])
  const output = join(dir, 'executed.ipynb')
  const env: NodeJS.ProcessEnv = { ...process.env, JUPYTER_PATH: join(prefix, 'share/jupyter') }
  delete env['VIRTUAL_ENV']
  const program = [join(root, 'scripts/execute_notebook.py'), join(project, 'new.ipynb'), output]
  await run(join(root, '.venv/bin/python'), program, { cwd: project, env })
  const { cells } = JSON.parse(await readFile(output, 'utf8')) as Executed
  const outputs = cells.flatMap(cell => cell.outputs)
  return {
    text: outputs.flatMap(({ text }) => text ?? []).join(''),
    types: outputs.flatMap(({ data }) => Object.keys(data ?? {})),
  }
}

try {
  await mkdir(join(project, 'node_modules/own-package'), { recursive: true })
  await mkdir(environment)
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', dir], { cwd: root })
  const [{ filename, size }] = JSON.parse(stdout) as [{ filename: string; size: number }]
  await writeFile(join(project, 'package.json'), '{}')
  await run('npm', ['install', '--no-audit', '--no-fund', join(dir, filename)], { cwd: project })
  const files = {
    'node_modules/own-package/package.json':
      '{ "type": "module", "exports": { "types": "./a.d.ts", "default": "./a.js" } }',
    'node_modules/own-package/a.js': 'export default () => "own"',
    'node_modules/own-package/a.d.ts': 'export default function own(): string',
    'local.ts': 'export const local: string = "local"',
    'new.ipynb': JSON.stringify({
      cells: CELLS.map((source, i) => ({
        id: `cell-${i}`,
        cell_type: 'code',
        source,
        metadata: {},
        outputs: [],
        execution_count: null,
      })),
      metadata: {},
      nbformat: 4,
      nbformat_minor: 5,
    }),
  }
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(project, name, '..'), { recursive: true })
    await writeFile(join(project, name), text)
  }

  const without = await execute(environment)
  assert.match(
    without.text,
    /Running on plain tfjs, slowly\. .*Activate the Python environment that has it, or: pip install/,
  )
  assert.match(without.text, /backend: tfjs/)

  await mkdir(join(environment, 'lib/python3'), { recursive: true })
  const python = ['-c', 'import sysconfig; print(sysconfig.get_paths()["purelib"])']
  const packages = (await run(join(root, '.venv/bin/python'), python)).stdout.trim()
  await run('ln', ['-s', packages, join(environment, 'lib/python3/site-packages')])
  const { text, types } = await execute(environment)
  assert.ok(text.includes(`root: ${join(project, 'node_modules/rewardlab')}\n`), text)
  assert.match(text, /backend: (cpu|cuda|tpu)/i)
  assert.match(text, /own local\nlosses: \d/)
  assert.ok(types.includes('application/vnd.vegalite.v5+json') && types.includes('image/svg+xml'), types.join())
  const losses = [without.text, text].map(printed => /losses: (.*)/.exec(printed)![1]!.split(',').map(Number))
  losses[0]!.forEach((loss, i) => assert.ok(Math.abs(loss - losses[1]![i]!) < 1e-3, JSON.stringify(losses)))
  console.log(
    `package: ${(size / 1e6).toFixed(1)} MB; a notebook outside the repository ran on ${/backend: (.*)/.exec(text)![1]} and on plain tfjs`,
  )
} finally {
  await rm(dir, { recursive: true })
}
