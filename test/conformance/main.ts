/* tfjs-core's own specs on a backend: `npm run test:conformance -- [--backend xla|cpu|tensorflow] [--grep EXPRESSION]`.
 * Prints what differs from ./expected.ts, then one result line; exit code 1 if anything does. `--specs FILE` takes specs that
 * were bundled before. */
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import Jasmine from 'jasmine'
import type { Result } from 'jasmine'
import { XlaBackend } from '../../src/xla/backend.js'
import { packageRoot, start, stats } from '../../src/xla/index.js'
import { expected } from './expected.js'
import type { Exclusion } from './expected.js'
import { countKernels, total } from './kernels.js'
import type { Counts, KernelCounts } from './kernels.js'

/** tfjs-core 4.22 defines 4,230 under Node. Fewer: some were not read. */
const DEFINED = 4_200
const TIME_LIMIT = 600_000 // ms a spec

const { backend, grep, specs } = parseArgs({
  options: {
    backend: { type: 'string', default: 'xla' },
    grep: { type: 'string' },
    specs: { type: 'string' },
  },
}).values
if (!isKnown(backend)) throw new Error(`--backend ${backend}: needed ${Object.keys(expected).join(', ')}`)

const { passed: needed, exclusions, onHost } = expected[backend]
const problems: string[] = []

await start({ backend })
const environment = { name: backend, backendName: backend, flags: {}, isDataSync: true }
const kernels = countKernels(backend)
const run = await silently(runSpecs)
await tf.setBackend(backend) // the last spec leaves none

const used = new Set<Exclusion>()
for (const [name, message] of run.failures) {
  const exclusion = exclusions.find(e => ('spec' in e ? e.spec.test(name) : e.failure.test(message)))
  if (exclusion) used.add(exclusion)
  else problems.push(`${name}: ${message}`)
}
const failed = problems.length
const excluded = run.failures.length - failed
for (const exclusion of exclusions)
  if (!grep && !used.has(exclusion)) problems.push(`excluded, but nothing fails: ${exclusion.because}`)
for (const [name, count] of kernels.host)
  if (!(name in onHost)) problems.push(`${name} ran on the host (${count} times) for numbers`)
if (backend === 'xla' && ![...kernels.backends].every(b => b instanceof XlaBackend))
  problems.push('the specs ran on another backend than XlaBackend')
if (!grep && run.defined < DEFINED) problems.push(`${run.defined} specs defined; needed at least ${DEFINED}`)
if (!grep && run.passed < needed) problems.push(`${run.passed} specs passed; needed at least ${needed}`)

for (const problem of problems) console.error(problem)
console.log(
  `conformance ${backend}: ${run.defined} defined, ${run.passed} passed, ${failed} failed, ` +
    `${excluded} excluded, ${run.pending} pending, ${run.seconds.toFixed(0)} s; ${describe(kernels)}`,
)
process.exit(problems.length === 0 ? 0 : 1)

interface Run {
  defined: number
  passed: number
  pending: number
  seconds: number
  /** Names without the environment's, and messages. */
  failures: [name: string, message: string][]
}

async function runSpecs(): Promise<Run> {
  const jasmine = new Jasmine()
  jasmine.jasmine.DEFAULT_TIMEOUT_INTERVAL = TIME_LIMIT
  // Specs of 8,000 operations that are compiled once set 80 s, which a busy machine exceeds.
  const untimed = { set: (_: object, name: string) => name === 'DEFAULT_TIMEOUT_INTERVAL' }
  Object.assign(globalThis, { jasmine: new Proxy(jasmine.jasmine, untimed) })
  const wanted = new RegExp(grep ?? '')
  jasmine.env.configure({
    random: false,
    forbidDuplicateNames: false,
    specFilter: spec => wanted.test(plainName(spec.getFullName())),
  })
  jasmine.env.clearReporters()
  const done: Run = { defined: 0, passed: 0, pending: 0, seconds: 0, failures: [] }
  const fail = (result: Result) => {
    if (result.failedExpectations.length > 0)
      done.failures.push([plainName(result.fullName), result.failedExpectations.map(f => f.message).join(' ')])
  }
  jasmine.env.addReporter({
    jasmineStarted: ({ totalSpecsDefined }) => (done.defined = totalSpecsDefined),
    specDone(result) {
      if (result.status === 'passed') done.passed++
      else if (result.status === 'pending') done.pending++
      fail(result)
    },
    suiteDone: fail,
    jasmineDone: fail,
  })
  const started = performance.now()
  createRequire(import.meta.url)(await specFile())
  await jasmine.env.execute()
  done.seconds = (performance.now() - started) / 1000
  return done
}

/** Some specs print tables and warnings. */
async function silently<T>(f: () => Promise<T>): Promise<T> {
  const { log, warn, info } = console
  Object.assign(console, { log: ignore, warn: ignore, info: ignore })
  try {
    return await f()
  } finally {
    Object.assign(console, { log, warn, info })
  }
}

function ignore(): void {}

async function specFile(): Promise<string> {
  Object.assign(globalThis, { conformanceEnvironment: environment })
  if (specs) return resolve(specs)
  const { bundleSpecs } = await import('./bundle.js')
  const file = resolve(packageRoot(), 'dist/conformance/specs.cjs')
  await bundleSpecs(file)
  return file
}

/** tfjs-core puts the environment into the names: `abs xla {} basic`. */
function plainName(name: string): string {
  return name.replace(` ${environment.name} ${JSON.stringify(environment.flags)}`, '')
}

function describe({ own, stringsAndComplex, host }: KernelCounts): string {
  const list = (counts: Counts) =>
    [...counts]
      .sort()
      .map(([name, n]) => `${name} ${n}`)
      .join(', ') || 'none'
  const by = backend === 'xla' ? 'PJRT' : backend
  const programs = stats()
  return [
    `kernels run by ${by}: ${total(own)} calls of ${own.size}`,
    ...(programs
      ? [`${programs.compiled} programs compiled, ${programs.loaded} loaded, ${programs.executed} executions`]
      : []),
    `on the host for strings and complex numbers: ${list(stringsAndComplex)}`,
    `on the host for numbers: ${list(host)}`,
  ].join('; ')
}

function isKnown(name: string): name is keyof typeof expected {
  return name in expected
}
