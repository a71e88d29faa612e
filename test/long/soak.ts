/* Training for some minutes (10, or as many as an argument says), with samples, checkpoints and evaluations: how fast resident memory grows over the second half,
 * by least squares, an hour and a step. A run keeps its rows, about a kilobyte a step; a tensor, program or file that is never let go shows as more. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { readExperiment } from '../../src/cli/experiment.js'
import { train } from '../../src/cli/train.js'
import { start } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'

const BOUND = 8 // KB a step
const EVERY = 20 // steps between looks

await start({ backend: 'xla' })
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void
const minutes = Number(process.argv[2] ?? 10)
const dir = mkdtempSync(join(tmpdir(), 'soak-'))
const path = join(dir, 'prompts.jsonl')
writeFileSync(path, ['one', 'two', 'three', 'four', 'five'].map(prompt => JSON.stringify({ prompt })).join('\n'))
const args = { max_steps: 1_000_000, save_steps: 100, save_total_limit: 2, eval_steps: 100, per_device_train_batch_size: 4, num_generations: 2, max_completion_length: 6 } // prettier-ignore
const rewards = { length: { use: 'completionLength', full: 2, none: 30 } }
const config = { optimizer: 'grpo', model: fixture('qwen2'), dataset: { path }, eval_dataset: { path }, rewards, args, output_dir: join(dir, 'run') } // prettier-ignore
writeFileSync(join(dir, 'config.yaml'), JSON.stringify(config))

const looks: { step: number; hours: number; rss: number }[] = [] // resident memory in MB
const stop = new AbortController()
const began = performance.now()
const onRow = ({ step }: { step: number }): void => {
  if (performance.now() - began > 60_000 * minutes) stop.abort()
  if (step % EVERY !== 0) return
  gc()
  looks.push({ step, hours: (performance.now() - began) / 3_600_000, rss: process.memoryUsage.rss() / 1e6 })
}
await train(await readExperiment(join(dir, 'config.yaml')), { signal: stop.signal, onRow })
rmSync(dir, { recursive: true })

const half = looks.slice(Math.floor(looks.length / 2))
const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
const rss = mean(half.map(look => look.rss))
const slope = (by: 'step' | 'hours'): number => {
  const middle = mean(half.map(look => look[by]))
  return mean(half.map(look => (look[by] - middle) * (look.rss - rss))) / mean(half.map(look => (look[by] - middle) ** 2)) // prettier-ignore
}
const perStep = 1000 * slope('step')
if (!(perStep < BOUND)) process.exitCode = 1
console.log(`soak: ${looks.at(-1)!.step} steps in ${minutes} min; resident memory ${rss.toFixed(0)} MB, growing by ${slope('hours').toFixed(0)} MB an hour over the second half: ${perStep.toFixed(1)} KB a step (bound ${BOUND})`) // prettier-ignore
