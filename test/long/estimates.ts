/* What `rewardlab estimate` says of six configurations, beside the most memory that an update of each took: the growth of the process's
 * resident memory over what it had once the engine was started. Weights are zeros, which train as fast and as large as others. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { estimateTraining } from '../../src/cli/estimateTraining.js'
import { readExperiment } from '../../src/cli/experiment.js'
import { readDataset } from '../../src/cli/namedDatasets.js'
import { startRun } from '../../src/cli/startRun.js'
import { stepSeconds } from '../../src/cli/stepTime.js'
import { loadPolicy } from '../../src/policies/index.js'
import { start } from '../../src/xla/index.js'

const CLOSE = 0.15 // of the measured value

const long = 'one two three four five six seven eight nine ten '
const shared = { dataset: { path: 'rows.jsonl' }, output_dir: 'out' }
const args = { max_steps: 3, per_device_train_batch_size: 8 }
const grpo = { optimizer: 'grpo', rewards: { a: 'answerFormat' } }
const CONFIGS = [
  { optimizer: 'sft', args },
  { optimizer: 'sft', args: { ...args, optim: 'adamw_8bit' }, gradient_checkpointing: false },
  { optimizer: 'dpo', adapter: { r: 16, target_modules: 'all-linear' }, args },
  { optimizer: 'dpo', args: { ...args, per_device_train_batch_size: 4, gradient_accumulation_steps: 2 } },
  { ...grpo, args: { ...args, per_device_train_batch_size: 16, max_completion_length: 96, beta: 0.04 } },
  { ...grpo, dtype: 'bfloat16', quantization: 'nf4', adapter: { r: 16, target_modules: 'all-linear' }, args: { ...args, per_device_train_batch_size: 16, max_completion_length: 96 } }, // prettier-ignore
]

/** In a process of its own: the growth of resident memory, at most. */
async function measure(path: string): Promise<void> {
  await start({ backend: 'xla' })
  const experiment = await readExperiment(path)
  const { adapter, quantization, dtype, gradient_checkpointing, model } = experiment.config
  global.gc!()
  writeFileSync('/proc/self/clear_refs', '5') // the peak starts anew
  const before = process.memoryUsage.rss()
  const policy = await loadPolicy(model, { adapter: adapter ?? undefined, quantization, dtype, gradient_checkpointing, zeros: true }) // prettier-ignore
  const { rows } = await startRun(policy, await readDataset(experiment.config.dataset!), experiment, undefined).done()
  const peak = 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1])
  const seconds = Math.min(...rows.slice(1).map(row => Number(row['step_time']))) // the first compiles
  console.log(JSON.stringify([peak - before, seconds]))
}

async function compare(): Promise<void> {
  const began = performance.now()
  const dir = mkdtempSync(join(tmpdir(), 'estimates-'))
  cpSync('data/models/tiny-qwen2', join(dir, 'model'), {
    recursive: true,
    filter: path => !path.endsWith('.safetensors'),
  })
  const path = join(dir, 'model', 'config.json')
  const sizes = { vocab_size: 32768, hidden_size: 768, intermediate_size: 2304, num_hidden_layers: 8, num_attention_heads: 12, num_key_value_heads: 4 } // prettier-ignore
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...sizes }))
  const row = { prompt: long, completion: long + long, chosen: long + long, rejected: long }
  writeFileSync(join(dir, 'rows.jsonl'), `${JSON.stringify(row)}\n`.repeat(16))
  const ratios: string[] = []
  for (const config of CONFIGS) {
    const file = join(dir, 'config.yaml')
    writeFileSync(file, JSON.stringify({ ...shared, ...config, dataset: { path: join(dir, 'rows.jsonl') }, model: join(dir, 'model') })) // prettier-ignore
    const experiment = await readExperiment(file)
    const {
      memory: { total },
      work,
    } = await estimateTraining(experiment, await readDataset(experiment.config.dataset!))
    const { update, sampling } = await stepSeconds(work)
    let [measured, seconds] = [0, Infinity]
    for (let i = 0; i < 2; i++) {
      // the first leaves its programs in the cache on disk: compiling takes memory of its own
      const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), file])
      if (stdout.length === 0) throw new Error(stderr.toString())
      const [bytes, time] = JSON.parse(stdout.toString()) as [number, number]
      ;[measured, seconds] = [bytes, Math.min(seconds, time)]
    }
    const ratio = total / measured
    if (Math.abs(ratio - 1) > CLOSE) process.exitCode = 1
    const ofTime = (update + sampling) / seconds
    ratios.push(`${config.optimizer} ${(measured / 1e6).toFixed(0)} MB, estimated ${ratio.toFixed(2)} of it, ${seconds.toPrecision(2)} s a step, estimated ${ofTime.toFixed(2)} of it`) // prettier-ignore
  }
  rmSync(dir, { recursive: true })
  console.log(`estimates: ${ratios.join('; ')}; ${((performance.now() - began) / 1000).toFixed(0)} s`)
}

await (process.argv[2] === undefined ? compare() : measure(process.argv[2]))
