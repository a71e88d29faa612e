/* `npm run check:gpu`: tfjs-core's specs, the optimizers' tests, updates by each method, and our side of the benchmark on a GPU;
 * prints one table. Arguments name the parts to run; none: all. The same program runs in the folder that `--bundle` writes. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot, platform, start } from '../../src/xla/index.js'
import { METHODS } from '../acceptance/shortRuns.js'
import { CASES, type Measured } from '../bench/cases.js'
import { expected } from '../conformance/expected.js'
import { differences, stepTimes, type Rows } from './agreement.js'
import type { TestResults } from './runTests.js'

/** By the first letter of their names, so that processes can share the work. */
const SPECS = ['a', 'b', 'c', '[de]', '[f-l]', 'm', '[n-q]', 'r', 's', '[t-z]', '[^a-z]']

/** XLA's informational messages. */
const XLA_LOG = /^(I\d{4}|W\d{4}|WARNING: All log messages) /

interface Outcome {
  result: string
  problems: string[]
}

const parts: Record<string, () => Promise<Outcome>> = { conformance, tests, steps, bench }
const names = process.argv.slice(2)
const unknown = names.find(name => !(name in parts))
if (unknown) throw new Error(`check:gpu: there is no part ${unknown}. There are: ${Object.keys(parts).join(', ')}.`)

const root = packageRoot()
const environment = { ...process.env, REWARDLAB_BACKEND: 'xla', REWARDLAB_DEVICE: 'cuda' }
try {
  await start({ backend: 'xla', device: 'cuda' })
} catch (error) {
  console.error(`check:gpu: ${(error as Error).message}`)
  process.exit(1)
}
const { platform: name, version, devices } = platform()!
console.log(`${devices.join(', ')} on ${name} (${version.split('\n')[0]}), Node ${process.version}`)

const table = [['check', 'result', 'seconds']]
for (const [part, run] of Object.entries(parts))
  if (names.length === 0 || names.includes(part)) {
    const began = performance.now()
    const { result, problems } = await run().catch((error: unknown) => failed(error))
    problems.forEach(problem => console.error(`${part}: ${problem}`))
    table.push([part, result, ((performance.now() - began) / 1000).toFixed(0)])
    if (problems.length > 0) process.exitCode = 1
  }
const widths = table[0]!.map((_, column) => Math.max(...table.map(row => row[column]!.length)))
console.log(table.map(row => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`).join('\n'))

/** tfjs-core's own specs, in several processes. */
async function conformance(): Promise<Outcome> {
  const specs = join(root, 'dist/conformance/specs.cjs')
  if (!existsSync(specs)) await (await import('../conformance/bundle.js')).bundleSpecs(specs)
  const totals = { defined: 0, passed: 0, failed: 0, excluded: 0, pending: 0 }
  const problems: string[] = []
  const waiting = SPECS.map(first => ['--backend', 'xla', '--specs', specs, '--grep', `^${first}`])
  const worker = async () => {
    for (let args; (args = waiting.shift());) {
      const { lines, errors } = await run('dist/test/conformance/main.js', args)
      problems.push(...errors)
      const counts = [...lines.at(-1)!.matchAll(/(\d+) (defined|passed|failed|excluded|pending)/g)]
      if (counts.length < 5) problems.push(`no result of the specs ${args.at(-1)}`)
      for (const [, n, kind] of counts) totals[kind as keyof typeof totals] += kind === 'defined' ? 0 : Number(n)
    }
  }
  await Promise.all(Array.from({ length: Math.max(1, availableParallelism() >> 1) }, worker))
  const { passed, failed, excluded, pending } = totals
  if (passed < expected.xla.passed) problems.push(`${passed} specs passed; needed ${expected.xla.passed}`)
  return { result: `${passed} specs passed, ${failed} failed, ${excluded} excluded, ${pending} pending`, problems }
}

/** The unit tests of optimizers and layers: values by hand, finite differences, fixtures of TRL. */
async function tests(): Promise<Outcome> {
  const { lines } = await run('dist/test/gpu/tests.js', [])
  const { passes, failures } = JSON.parse(lines.at(-1)!) as TestResults
  return { result: `${passes} tests passed, ${failures.length} failed`, problems: failures }
}

/** The same updates as on the CPU. */
async function steps(): Promise<Outcome> {
  const file = join(root, 'dist/test/gpu/reference.json')
  const rowsOn = async (device: string) => {
    const { lines } = await run('dist/test/gpu/steps.js', [], { REWARDLAB_DEVICE: device })
    return JSON.parse(lines.at(-1)!) as Rows
  }
  const reference = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Rows) : await rowsOn('cpu')
  const rows = await rowsOn('cuda')
  const problems = differences(rows, reference)
  const [here, there] = [stepTimes(rows), stepTimes(reference)]
  const times = METHODS.map(method => `${method} ${here[method].toFixed(0)} (${there[method].toFixed(0)})`).join(', ')
  const agree = problems.length === 0 ? 'agree with the CPU’s' : `differ in ${problems.length} numbers from the CPU’s`
  return { result: `${reference.sft.length} updates a method ${agree}; ms an update (there): ${times}`, problems }
}

/** Our side of `npm run bench`: the fastest run of each case. */
async function bench(): Promise<Outcome> {
  const results: string[] = []
  const problems: string[] = []
  for (const work of CASES) {
    const { lines, errors } = await run('dist/test/bench/rewardlab.js', [JSON.stringify(work)])
    problems.push(...errors.map(line => `${work.name}: ${line}`))
    if (errors.length > 0) continue
    const { seconds } = JSON.parse(lines.at(-1)!) as Measured
    results.push(`${work.name} ${(1000 * Math.min(...seconds)).toPrecision(3)}`)
  }
  return { result: `ms: ${results.join(', ')}`, problems }
}

/** Runs a program on the device. @returns what it printed; `errors` holds the lines on stderr if its exit code is not 0 */
async function run(
  program: string,
  args: string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ lines: string[]; errors: string[] }> {
  const lines = (text: string) => text.trim().split('\n')
  const options = { env: { ...environment, ...env }, maxBuffer: 2 ** 26 }
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [join(root, program), ...args], options)
    return { lines: lines(stdout), errors: [] }
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    if (!stdout) throw error
    return { lines: lines(stdout), errors: lines(stderr ?? '').filter(line => !XLA_LOG.test(line)) }
  }
}

function failed(error: unknown): Outcome {
  const message = error instanceof Error ? error.message : String(error)
  return { result: 'did not end', problems: message.trim().split('\n') }
}
