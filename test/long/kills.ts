/* Kills (50, or as many as an argument says) at random moments of a GRPO run that writes a checkpoint each second step: each resumes, and the weights at the end are
 * those of a run that was left alone. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rng } from '../../src/datasets/index.js'
import { openRun } from '../../src/runs/index.js'
import { trainedUnlessKilled } from '../cli/killed.js'
import { fixture } from '../models/fixture.js'

const [KILLS, STEPS] = [Number(process.argv[2] ?? 50), 60]
const began = performance.now()
const dir = mkdtempSync(join(tmpdir(), 'kills-'))
const prompts = ['one', 'two', 'three', 'four', 'five'].map(prompt => JSON.stringify({ prompt }))
writeFileSync(join(dir, 'prompts.jsonl'), prompts.join('\n'))
const args = { max_steps: STEPS, save_steps: 2, save_total_limit: 3, per_device_train_batch_size: 4, num_generations: 2, max_completion_length: 6, learning_rate: 0.01 } // prettier-ignore
const config = (output: string): string => {
  const rewards = { length: { use: 'completionLength', full: 2, none: 30 } }
  const path = join(dir, `${output}.yaml`)
  const given = { optimizer: 'grpo', model: fixture('qwen2'), dataset: { path: join(dir, 'prompts.jsonl') }, rewards, args, output_dir: join(dir, output) } // prettier-ignore
  writeFileSync(path, JSON.stringify(given))
  return path
}
await trainedUnlessKilled(config('alone'), {}, () => {}) // compiles, for all others
rmSync(join(dir, 'alone'), { recursive: true })
const start = performance.now()
await trainedUnlessKilled(config('alone'), {}, () => {})
const whole = performance.now() - start

const random = rng(1)
let [kills, ends] = [0, 0]
while (kills < KILLS) {
  const path = config('killed')
  for (;;) {
    let timer: NodeJS.Timeout | undefined
    const after = random.uniform() * whole
    const ended = await trainedUnlessKilled(path, {}, (_, now) => (timer ??= kills < KILLS ? setTimeout(now, after) : undefined)) // prettier-ignore
    clearTimeout(timer)
    if (ended) break
    kills++
  }
  ends++
  const rows = (output: string) =>
    JSON.stringify(openRun(join(dir, output)).rows.map(row => ({ ...row, step_time: 0 })))
  const weights = (output: string) => readFileSync(join(dir, output, 'model', 'model.safetensors'))
  if (rows('killed') !== rows('alone') || !weights('killed').equals(weights('alone'))) process.exitCode = 1
  rmSync(join(dir, 'killed'), { recursive: true })
}
rmSync(dir, { recursive: true })
const verdict = process.exitCode === 1 ? 'ANOTHER' : 'the same'
console.log(`kills: ${kills} kills in ${ends} runs of ${STEPS} steps, each ended with ${verdict} metrics and weights, bit for bit; ${((performance.now() - began) / 1000).toFixed(0)} s`) // prettier-ignore
