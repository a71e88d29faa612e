/* One target for some seconds, in a process of its own: `explore.js TARGET SECONDS FOLDER`. Tells what it does in lines of JSON. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { rng } from '../../src/datasets/rng.js' // alone: the less is loaded, the quicker its coverage is taken
import { attempt } from './attempt.js'
import { Coverage } from './coverage.js'
import { mutate } from './mutate.js'
import { prepare, TARGETS } from './targets.js'

const TOGETHER = 128 // inputs between two looks at the coverage, which takes longer than they do
const MOST_FAILURES = 10

const [name, seconds, folder] = process.argv.slice(2) as [string, string, string]
const target = TARGETS[name]!
const { words = [] } = target
const path = prepare(target, join(folder, 'input'))
const found = join(folder, 'found')
mkdirSync(found, { recursive: true })

const inputs = seedsOf(name)
const random = rng(Date.now())
const coverage = new Coverage()
const failures = new Map<string, string>()
let executions = 0

/** Runs an input; one that fails in a new way is kept. */
async function run(input: Buffer): Promise<boolean> {
  executions++
  const problem = await attempt(target, path, input)
  if (problem === null) return true
  const kind = problem.replace(/\d+|"[^"]*"/g, '#')
  if (!failures.has(kind)) {
    failures.set(kind, save(input, 'failed-'))
    console.log(JSON.stringify({ failure: problem, input: failures.get(kind) }))
  }
  return false
}

function save(input: Buffer, prefix = ''): string {
  const file = join(found, `${prefix}${createHash('sha1').update(input).digest('hex').slice(0, 12)}`)
  writeFileSync(file, input)
  return file
}

await target.parse(path).catch(() => undefined) // no file is there yet: only the parser is loaded
for (const input of inputs) {
  await run(input)
  coverage.take('alone')
}
const end = Date.now() + 1000 * Number(seconds)
while (Date.now() < end && failures.size < MOST_FAILURES) {
  const batch = Array.from({ length: TOGETHER }, () => mutate(random.pick(inputs), random.pick(inputs), words, random))
  for (const input of batch) await run(input)
  if (coverage.take('together') > 0)
    for (const input of batch)
      if ([await run(input), coverage.take('alone') > 0].every(Boolean)) {
        inputs.push(input)
        save(input)
      }
  console.log(JSON.stringify({ executions, parts: coverage.size, inputs: inputs.length, failures: failures.size }))
}
process.exit()

/** What a target begins with: fixtures, texts, and what was kept of earlier times. */
function seedsOf(name: string): Buffer[] {
  const { seeds = [], texts = [] } = TARGETS[name]!
  const kept = [join('test/fuzz/corpus', name), found].filter(dir => existsSync(dir))
  const files = kept.flatMap(dir => readdirSync(dir).map(file => join(dir, file)))
  return [...texts.map(text => Buffer.from(text, 'latin1')), ...[...seeds, ...files].map(file => readFileSync(file))]
}
