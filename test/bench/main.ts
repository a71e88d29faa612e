/* `npm run bench`: each case in a process of its own, ours and the peers' in turn on the same machine.
 *
 *   npm run bench                      all cases, and docs/benchmarks.md
 *   npm run bench -- train decode      the cases whose names begin so; --write writes the page with these alone
 *   npm run bench -- train --ours      without the peers
 *   npm run bench -- train --rounds 1  each subject once, in place of twice in turn
 *   npm run bench -- train --profile   ours; in profiles/ what the engine did (*.json, for ui.perfetto.dev) and where our JavaScript
 *                                      spent its time (*.cpuprofile, for a browser's developer tools) */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { format, resolveConfig } from 'prettier'
import { packageRoot } from '../../src/xla/index.js'
import { CASES, type Case, type Kind, type Measured } from './cases.js'
import { differences, page, summary, type Result, type Subject } from './report.js'

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    write: { type: 'boolean' },
    ours: { type: 'boolean' },
    rounds: { type: 'string', default: '2' },
    profile: { type: 'boolean' },
  },
})
const unknown = names.find(name => !CASES.some(work => work.name.startsWith(name)))
if (unknown) fail(`there is no case ${unknown}. There are: ${CASES.map(c => c.name).join(', ')}.`)

const rounds = Number(flags.rounds)
const root = packageRoot()
const python = process.env.REWARDLAB_REFERENCE_PYTHON
const alone = flags.ours || flags.profile
const profiles = join(root, 'profiles')
const profiling = flags.profile ? ['--cpu-prof', '--cpu-prof-dir', profiles] : []
const rewardlab = [process.execPath, ...profiling, join(root, 'dist/test/bench/rewardlab.js')]

interface Program {
  command: string[]
  env?: NodeJS.ProcessEnv
  measures: (work: Case) => boolean
}
const PROGRAMS: Partial<Record<Subject, Program>> = {
  rewardlab: { command: rewardlab, measures: () => true },
  ...(!alone && {
    PyTorch: peer('peer_pytorch.py', ['copy', 'matmul', 'call', 'chain', 'train', 'decode', 'edit']),
    TRL: peer('peer_trl.py', ['grpo', 'dpo']),
    JAX: peer('peer_jax.py', ['copy', 'matmul', 'call', 'chain', 'step', 'trace', 'train']),
  }),
  // Our train step on tfjs's own binding, kernel after kernel, where `npm run setup:tensorflow` has made it.
  ...(!alone &&
    existsSync(join(root, '.tensorflow/.rewardlab')) && {
      TensorFlow: {
        command: rewardlab,
        env: { REWARDLAB_BACKEND: 'tensorflow' },
        measures: (work: Case) => work.name === 'train-f32',
      },
    }),
}

if (flags.profile) await mkdir(profiles, { recursive: true })
const load = os.loadavg()[0]!
const results: Result[] = []
for (const work of CASES.filter(({ name }) => names.length === 0 || names.some(n => name.startsWith(n)))) {
  const result = await measure(work)
  results.push(result)
  console.log(summary(result))
}
if (names.length === 0 ? !alone : flags.write) {
  const file = join(root, 'docs/benchmarks.md')
  await writeFile(
    file,
    await format(page(results, load, rounds), { ...(await resolveConfig(file)), parser: 'markdown' }),
  )
}
process.exitCode = results.some(({ failures }) => failures.length > 0) ? 1 : 0

function peer(program: string, kinds: readonly Kind[]): Program {
  if (!python) return fail('REWARDLAB_REFERENCE_PYTHON names no Python. Use npm run bench, which makes one.')
  return { command: [python, join(root, 'test/bench', program)], measures: work => kinds.includes(work.kind) }
}

async function measure(work: Case): Promise<Result> {
  const result: Result = { work, measured: {}, failures: [] }
  const programs = Object.entries(PROGRAMS).filter(([, { measures }]) => measures(work)) as [Subject, Program][]
  for (let round = 0; round < rounds; round++)
    for (const [subject, program] of programs)
      try {
        const found = await run(program, work)
        const before = result.measured[subject]
        const peakBytes = Math.max(found.peakBytes, before?.peakBytes ?? 0)
        result.measured[subject] = { ...found, peakBytes, seconds: [...(before?.seconds ?? []), ...found.seconds] }
      } catch (error) {
        result.failures.push(`${subject}: ${reasonOf(error as Error & { stderr?: string })}`)
      }
  return { ...result, failures: [...result.failures, ...differences(result)] }
}

async function run({ command, env }: Program, work: Case): Promise<Measured> {
  const [program, ...given] = command as [string, ...string[]]
  const args = [...given, JSON.stringify(work), ...(flags.profile ? [join(profiles, `${work.name}.json`)] : [])]
  const { stdout } = await promisify(execFile)(program, args, {
    env: { ...process.env, ...env, REWARDLAB_CACHE: 'off' }, // compilation is measured
    maxBuffer: 2 ** 24,
  })
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Measured
}

/** What a program that failed said last of its error. */
function reasonOf({ message, stderr }: { message: string; stderr?: string }): string {
  const lines = (stderr || message).trim().split('\n')
  return lines.findLast(line => /error/i.test(line)) ?? lines.at(-1)!
}

function fail(message: string): never {
  console.error(`bench: ${message}`)
  process.exit(1)
}
