/* How quickly the kernel answers and is interrupted, and what it says when it ends. Start it with another Node to check that one. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { packageRoot } from '../../src/xla/index.js'
import { stream, value } from '../kernels/answers.js'
import { Client } from '../kernels/client.js'

/** Milliseconds. */
const BOUNDS = { firstAnswer: 4000, trivialCell: 150, completion: 300, loops: 500, training: 500 }
const LINES = 100_000
const TRIALS = 9

const LOOPS = [
  'while (true) ;',
  'do ; while (true)',
  'for (;;) ;',
  'for (const x of (function* () { while (true) yield 1 })()) x',
  'while (true) try { while (true) ; } catch { continue } finally { [].length }',
  'Array.from({ length: 100 }, () => { while (true) ; })',
  'const dive = (n: number): number => n > 100 ? n : dive(n + 1); while (true) dive(0)',
  '[1, 2].sort(() => { while (true) ; })',
  '/^(a+)+$/.test("a".repeat(50) + "b")',
  'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)',
  'await 0; while (true) ;',
  'for (;;) await 0',
  'for (;;) await new Promise(resolve => setImmediate(resolve))',
  'const step = (): Promise<void> => Promise.resolve().then(step); await step()',
  'const tick = () => process.nextTick(tick); tick(); await new Promise(() => {})',
  'await new Promise(() => {})',
  'await fetch("http://127.0.0.1:9/").catch(() => new Promise(() => {}))',
  'for await (const x of (async function* () { while (true) yield 1 })()) x',
  'await (async () => { await 0; for (;;) ; })()',
]

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

/** Runs a cell, interrupts it some time after it started, and returns the milliseconds until it is free. */
async function interrupt(kernel: Client, code: string, after: number): Promise<number> {
  const heard = kernel.broadcasts.length
  const cell = kernel.execute(`console.log('started'); ${code}`)
  while (!kernel.broadcasts.slice(heard).some(({ content }) => content['text'] === 'started\n')) await setTimeout(5)
  await setTimeout(after)
  const began = performance.now()
  await kernel.interrupt()
  const { reply } = await cell
  assert.equal(reply['ename'], 'KeyboardInterrupt', `${code}: ${JSON.stringify(reply)}`)
  return performance.now() - began
}

async function ok(kernel: Client, code: string): Promise<string> {
  const answer = await kernel.execute(code)
  assert.equal(answer.reply['status'], 'ok', `${code}: ${JSON.stringify(answer.reply)}`)
  return String(value(answer))
}

/** What a cell leaves that ends the kernel. */
async function lastMessage(code: string, env: Record<string, string> = {}): Promise<string> {
  const kernel = await Client.start({ ...parent, ...env })
  const { reply } = await kernel.execute(code)
  kernel.stop()
  return String(reply['evalue'])
}

const modules = [
  'datasets',
  'metrics',
  'optimizers',
  'plots',
  'policies',
  'rewards',
  'runs',
  'sampling',
  'widgets',
  'xla',
]
const began = performance.now()
const parent = { JPY_PARENT_PID: String(process.pid) } // no kernel outlives a failed check
const kernel = await Client.start(parent)
assert.equal(await ok(kernel, '1 + 1'), '2')
const firstAnswer = performance.now() - began

await ok(kernel, modules.map(name => `import * as ${name} from 'rewardlab/${name}'`).join('\n'))
await ok(
  kernel,
  `await xla.start(); const policy = await policies.loadPolicy('${join(packageRoot(), 'data/models/tiny-qwen2')}')`,
)
const cells: number[] = []
const completions: number[] = []
for (let i = 0; i < TRIALS; i++) {
  cells.push(await timed(() => ok(kernel, `${i} + 1`)))
  completions.push(
    await timed(async () => {
      const { reply } = await kernel.request('complete_request', { code: `const a${i} = policy.`, cursor_pos: 18 })
      assert.ok((reply['matches'] as string[]).includes('sample'))
    }),
  )
}

const printed = stream(await kernel.execute(`for (let i = 0; i < ${LINES}; i++) console.log(i)`))
const lines = printed.trimEnd().split('\n')
assert.ok(lines.length === LINES && lines.every((line, i) => line === String(i)), `${lines.length} lines`)

const loops: number[] = []
for (const code of LOOPS) {
  loops.push(await interrupt(kernel, code, 100))
  assert.equal(await ok(kernel, 'await Promise.resolve(6)'), '6')
}

await ok(
  kernel,
  `const rows = datasets.arithmeticProblems({ seed: 3, size: 400 }).train
  const train = () => optimizers.grpo(policy.fork(), rows, rewards.weighted({ length: [rewards.completionLength(), 1] }), {
    max_steps: 200, per_device_train_batch_size: 64, num_generations: 8, max_completion_length: 32, seed: 5
  })
  const run = train()`,
)
const training: number[] = []
for (const after of [50, 800, 3000, 9000, 150, 333, 700]) {
  training.push(await interrupt(kernel, 'await run.done()', after))
  const steps = Number(await ok(kernel, 'run.rows.length'))
  assert.ok(steps < 200, 'the run came to its end: nothing was interrupted')
}
await setTimeout(5000) // ends the step that was running
const steps = Number(await ok(kernel, 'run.rows.length'))
await setTimeout(1000)
assert.equal(Number(await ok(kernel, 'run.rows.length')), steps, 'the run went on after its interrupt')
assert.ok(Number(await ok(kernel, 'for await (const row of run) if (row.step > 3) break; run.rows.length')) > 3)
assert.equal(await ok(kernel, '(await import("@tensorflow/tfjs-core")).engine().state.scopeStack.length'), '0')

const thrown = await kernel.execute('\nthrow new RangeError("too far")')
assert.match((thrown.reply['traceback'] as string[]).join('\n'), /RangeError.*too far.*2 \| .*throw new/s)
kernel.stop()
assert.match(await lastMessage('process.exit(3)'), /process\.exit\(3\) was called.*variables are lost/)
const hoard = 'const hoard: number[][] = []; for (;;) hoard.push(new Array(1e5).fill(0.5))'
assert.match(await lastMessage(hoard, { NODE_OPTIONS: '--max-old-space-size=300' }), /heap is full/)

const figures = {
  firstAnswer,
  trivialCell: median(cells),
  completion: median(completions),
  loops: Math.max(...loops),
  training: Math.max(...training),
}
const ms = (x: number) => `${x.toFixed(0)} ms`
console.log(
  `kernel on Node ${process.versions.node}: first 1 + 1 after ${ms(figures.firstAnswer)}; with all modules a trivial cell ${ms(figures.trivialCell)}, ` +
    `policy. completed in ${ms(figures.completion)}; ${LINES} lines arrived; ${LOOPS.length} kinds of loops freed in at most ${ms(figures.loops)} ` +
    `(median ${ms(median(loops))}), a training run's cell in at most ${ms(figures.training)}; throw, process.exit and a full heap explained`,
)
for (const [name, bound] of Object.entries(BOUNDS)) {
  const figure = figures[name as keyof typeof figures]
  assert.ok(figure < bound, `${name}: ${ms(figure)}, bound ${ms(bound)}`)
}
