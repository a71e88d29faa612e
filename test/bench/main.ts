/* `npm run bench`: each case in a process of its own, ours and the peers' in turn on the same machine.
 *
 *   npm run bench                      all cases, and docs/benchmarks.md
 *   npm run bench -- train decode      the cases whose names begin so; --write writes the page with these alone
 *   npm run bench -- train --ours      without the peers
 *   npm run bench -- train --rounds 1  each subject once, in place of twice in turn
 *   npm run bench -- train --profile   a profile of our JavaScript (*.cpuprofile, for a browser's developer tools) in profiles/ */
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { format, resolveConfig } from 'prettier'
import { packageRoot } from '../../src/xla/index.js'
import { CASES, type Case, type Kind, type Measured } from './cases.js'
import { page, summary, type Result } from './report.js'

/** Who measures which kinds. */
const PEERS: Record<string, { program: string; kinds: Kind[] }> = {
  PyTorch: { program: 'peer_pytorch.py', kinds: ['copy', 'matmul', 'call', 'chain', 'train', 'decode'] },
  JAX: { program: 'peer_jax.py', kinds: ['copy', 'matmul', 'call', 'chain', 'step', 'trace', 'train'] },
}

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    write: { type: 'boolean' },
    ours: { type: 'boolean' },
    profile: { type: 'boolean' },
    rounds: { type: 'string', default: '2' },
  },
})
const unknown = names.find(name => !CASES.some(work => work.name.startsWith(name)))
if (unknown) throw new Error(`bench: there is no case ${unknown}. There are: ${CASES.map(c => c.name).join(', ')}.`)
const python = process.env.REWARDLAB_REFERENCE_PYTHON
if (!python && !flags.ours) throw new Error('bench: REWARDLAB_REFERENCE_PYTHON names no Python. Use npm run bench.')

const root = packageRoot()
const load = os.loadavg()[0]!
const results: Result[] = []
for (const work of CASES.filter(({ name }) => names.length === 0 || names.some(n => name.startsWith(n)))) {
  const result = await measure(work)
  results.push(result)
  console.log(summary(result))
}
if (names.length === 0 ? !flags.ours : flags.write) {
  const file = join(root, 'docs/benchmarks.md')
  await writeFile(file, await format(page(results, load), { ...(await resolveConfig(file)), parser: 'markdown' }))
}
process.exitCode = results.some(({ failures }) => failures.length > 0) ? 1 : 0

async function measure(work: Case): Promise<Result> {
  const peers = Object.entries(PEERS).filter(([, { kinds }]) => !flags.ours && kinds.includes(work.kind))
  const profile = flags.profile ? ['--cpu-prof', '--cpu-prof-dir', join(root, 'profiles')] : []
  const commands: Record<string, string[]> = {
    rewardlab: [process.execPath, ...profile, join(root, 'dist/test/bench/rewardlab.js')],
    ...Object.fromEntries(peers.map(([name, { program }]) => [name, [python!, join(root, 'test/bench', program)]])),
  }
  const result: Result = { work, measured: {}, failures: [] }
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const [subject, command] of Object.entries(commands))
      try {
        const one = await run([...command, JSON.stringify(work)])
        const before = result.measured[subject]
        const peakBytes = Math.max(one.peakBytes, before?.peakBytes ?? 0)
        result.measured[subject] = { ...one, peakBytes, seconds: [...(before?.seconds ?? []), ...one.seconds] }
      } catch (error) {
        result.failures.push(`${subject}: ${(error as Error).message.trim()}`)
      }
  result.failures.push(...differences(result))
  return result
}

async function run([program, ...args]: string[]): Promise<Measured> {
  const env = { ...process.env, REWARDLAB_CACHE: 'off' } // compilation is measured
  const { stdout } = await promisify(execFile)(program!, args, { env, maxBuffer: 2 ** 24 })
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Measured
}

/** Signs that subjects did not compute the same: other numbers of weights, other losses of the first step. */
function differences({ measured }: Result): string[] {
  const LOSS = 0.1 // weights differ, so that losses scatter around ln V
  const all = Object.entries(measured)
  return all.flatMap(([subject, found]) => {
    const [first, reference] = all[0]!
    if (found.parameters !== reference.parameters)
      return [`${subject} has ${found.parameters} weights, ${first} has ${reference.parameters}`]
    if (found.loss !== undefined && Math.abs(found.loss - reference.loss!) > LOSS)
      return [`${subject} has loss ${found.loss} in its first step, ${first} has ${reference.loss}`]
    return []
  })
}
