/* Every parser of files from elsewhere, each for ten minutes (`-- fuzz MINUTES TARGET…`) with inputs changed at random, of which those that reach new code are
 * changed further; they stay in runs/fuzz, where the next run goes on from them. An input may take 2 s of processor time and 600 MB, and is read or answered with an Error that names the file. */
import { spawn } from 'node:child_process'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { prepare, TARGETS, type Target } from '../fuzz/targets.js'
import { problemOf } from '../fuzz/attempt.js'

const MOST_SECONDS = 20 // of processor time for one input, when its process is ended
const HEAP_MB = 1000

const [minutes = '10', ...names] = process.argv.slice(2)
let failed = 0
for (const name of names.length > 0 ? names : Object.keys(TARGETS)) failed += await fuzz(name, 60 * Number(minutes))
process.exit(failed > 0 ? 1 : 0)

/** @returns how many kinds of failure it found */
async function fuzz(name: string, seconds: number): Promise<number> {
  const target = TARGETS[name]!
  const folder = join('runs/fuzz', name)
  rmSync(join(folder, 'input'), { recursive: true, force: true })
  const path = prepare(target, join(folder, 'input'))
  const failures = new Map<string, string>() // by the file that has the input
  const [began, total] = [Date.now(), { executions: 0, parts: 0, inputs: 0 }]
  while (Date.now() - began < 1000 * seconds - 1000 && failures.size < 10) {
    const left = seconds - (Date.now() - began) / 1000
    const { last, end } = await explore(name, left, folder, path, ({ failure, input }) => failures.set(input, failure))
    total.executions += last.executions
    total.parts = Math.max(total.parts, last.parts)
    total.inputs = Math.max(total.inputs, last.inputs)
    if (end === null) break
    const problem = await outcome(target, path, end)
    if (problem === null) continue // its own thread ended it with an Error
    if ([...failures.values()].includes(problem)) continue
    const file = join(folder, `failed-${failures.size}`)
    writeFileSync(file, readFileSync(path))
    failures.set(file, problem)
  }
  for (const [file, failure] of failures) console.error(`${name}: ${failure} (${file})`)
  console.log(`fuzz ${name}: ${total.executions} inputs in ${Math.round((Date.now() - began) / 1000)} s, ${total.parts} parts of code seen, ${total.inputs} inputs kept, ${failures.size} failures`) // prettier-ignore
  return failures.size
}

interface State {
  executions: number
  parts: number
  inputs: number
}

/** Runs `explore.js`, and ends it where an input takes too long.
 * @returns what it told last, and how it ended; null: as it should */
function explore(
  name: string,
  seconds: number,
  folder: string,
  path: string,
  onFailure: (failure: { failure: string; input: string }) => void,
): Promise<{ last: State; end: string | null }> {
  const program = ['--max-old-space-size=' + HEAP_MB, 'dist/test/fuzz/explore.js', name, String(seconds), folder]
  const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'pipe'] })
  let [last, end, told, text]: [State, string | null, string, string] = [{ executions: 0, parts: 0, inputs: 0 }, null, '', ''] // prettier-ignore
  child.stdout.on('data', (data: Buffer) => {
    const lines = (text += data.toString()).split('\n')
    text = lines.pop()!
    for (const line of lines) {
      const message = JSON.parse(line) as State | { failure: string; input: string }
      if ('failure' in message) onFailure(message)
      else last = message
    }
  })
  child.stderr.on('data', (data: Buffer) => (told = (told + data.toString()).slice(-2000)))
  const used = () => Number(readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(' ').slice(13, 15).reduce((a, b) => a + Number(b), 0)) / 100 // prettier-ignore
  let [input, since] = [0, 0]
  const watch = setInterval(() => {
    try {
      const { mtimeMs } = statSync(path)
      if (mtimeMs !== input) [input, since] = [mtimeMs, used()]
      else if (used() - since > MOST_SECONDS) {
        end = `no end after ${MOST_SECONDS} s of processor time`
        child.kill('SIGKILL')
      }
    } catch {
      // not begun, or just ended
    }
  }, 1000)
  return new Promise(resolve =>
    child.on('close', (code, signal) => {
      clearInterval(watch)
      if (end === null && code !== 0) end = `ended the process (${signal ?? code}): ${/FATAL.*|Error.*/.exec(told)?.[0] ?? told.slice(-200)}` // prettier-ignore
      resolve({ last, end })
    }),
  )
}

/** What is wrong with an input that ended its process, where the parser has a thread of its own. */
async function outcome({ isolated, where }: Target, path: string, end: string): Promise<string | null> {
  if (!isolated) return end
  try {
    await isolated(path)
    return null
  } catch (error) {
    return problemOf(error, path, where)
  }
}
