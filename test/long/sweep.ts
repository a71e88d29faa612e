/* A sweep of 12 trials on a local Ray cluster of two nodes, one of which is killed while both train. Takes a Python that has Ray:
 * `npm run check:long -- sweep /path/to/venv/bin/python`. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openRun, openSweep } from '../../src/runs/index.js'
import { fixture } from '../models/fixture.js'

const STEPS = 12
const python = process.argv[2]
if (python === undefined) throw new Error('sweep: no Python was named, needed one that has ray. npm run check:long -- sweep /path/to/python') // prettier-ignore
const began = performance.now()
const dir = mkdtempSync(join(tmpdir(), 'sweep-'))
const file = (name: string, content: string): string => {
  writeFileSync(join(dir, name), content)
  return join(dir, name)
}
const prompts = file('prompts.jsonl', ['one', 'two', 'three'].map(prompt => JSON.stringify({ prompt })).join('\n'))
const args = { max_steps: STEPS, save_steps: 2, per_device_train_batch_size: 4, num_generations: 2, max_completion_length: 6 } // prettier-ignore
const rewards = { length: { use: 'completionLength', full: 2, none: 30 }, format: { use: 'answerFormat' } }
const config = (optimizer: string): string =>
  file(`${optimizer}.yaml`, JSON.stringify({ optimizer, model: resolve(fixture('qwen2')), dataset: { path: prompts }, rewards, args })) // prettier-ignore
const output = join(dir, 'trials')
const over = { args: { seed: [1, 2, 3] }, rewards: { format: { weight: [0.2, 1] } } }
const sweep = file('sweep.yaml', JSON.stringify({ config: [config('grpo'), config('srpo')], over, output_dir: output }))

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const cluster = ['test/long/sweep_cluster.py', 'scripts/sweep_ray.py', sweep, output, `${process.execPath} ${main}`]
const env = { ...process.env, REWARDLAB_BACKEND: 'cpu' } // nothing to compile
const { status, stdout, stderr } = spawnSync(python, cluster, { env, encoding: 'utf8' })
const killed = /node killed after (\d+) trials/.exec(stdout)?.[1]
if (status !== 0 || killed === undefined) throw new Error(`${stdout}${stderr}`)

const { trials, comparison } = openSweep(output)
const whole = trials.filter(trial => trial.state === 'done' && openRun(trial.dir).rows.every(({ step }, i) => step === i + 1)) // prettier-ignore
const n = (comparison.objects() as { n: number }[]).map(row => row.n)
if (whole.length !== 12 || Number(killed) >= 12 || n.length !== 4 || n.some(count => count !== 3)) process.exitCode = 1
rmSync(dir, { recursive: true })
console.log(`sweep: ${whole.length} of ${trials.length} trials came to their end on two Ray nodes, one of them killed after ${killed} trials; the table has ${n.length} settings of ${n.join(', ')} seeds; ${((performance.now() - began) / 1000).toFixed(0)} s`) // prettier-ignore
