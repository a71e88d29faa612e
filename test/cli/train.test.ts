import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import { evaluate } from '../../src/cli/evaluate.js'
import { readExperiment } from '../../src/cli/experiment.js'
import { progress } from '../../src/cli/progress.js'
import { train } from '../../src/cli/train.js'
import { diskWarning, watch } from '../../src/cli/watch.js'
import { latestCheckpoint, openRun } from '../../src/runs/index.js'
import { fixture } from '../models/fixture.js'
import { trainedUnlessKilled } from './killed.js'
import { rewardlab } from './rewardlab.js'

/** What makes a config's run short. */
const SHORT: Record<string, string[]> = {
  arithmetic_sft: [],
  preference_dpo: [],
  arithmetic_grpo: ['num_generations=2', 'max_completion_length=3'],
  arithmetic_srpo: ['num_generations=2', 'max_completion_length=3'],
  gsm8k_grpo: ['num_generations=2', 'max_completion_length=3'],
  qwen25vl_video_grpo: ['grpo_sample_size=2', 'generation_max_length=3'],
  mathvista_grpo: ['num_generations=2', 'max_completion_length=3'],
  moderation_sft: [],
  moderation_grpo: ['num_generations=2', 'max_completion_length=3'],
  kontext_edits: ['num_generations=2', 'generation_kwargs={ num_inference_steps: 2, sde_window: [0, 1] }'],
}

describe('rewardlab train', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'train-'))))
  after(() => rmSync(dir, { recursive: true }))

  for (const file of readdirSync('configs')) {
    const name = file.replace('.yaml', '')
    it(`does a step of configs/${file}`, async () => {
      const output = join(dir, name)
      const args = ['max_steps=1', 'report_to=tensorboard', 'per_device_train_batch_size=2', 'per_device_eval_batch_size=2', ...SHORT[name]!] // prettier-ignore
      const sets = ['dataset.size=20', 'eval_dataset={ limit: 2, size: 20, name: arithmetic }', `output_dir=${output}`]
      if (name === 'kontext_edits') sets[1] = 'eval_dataset={ limit: 1, size: 20, name: editScenes }'
      if (/^(qwen|math|mod)/.test(name)) sets[1] = 'eval_dataset.limit=2'
      if (name === 'moderation_grpo') sets.push('model=data/models/tiny-llava')
      if (name === 'preference_dpo') sets[1] = 'eval_dataset={ limit: 2, size: 20, name: arithmeticPairs }'
      const all = [...sets, ...args.map(arg => `args.${arg}`)].flatMap(set => ['--set', set])
      const plain = { REWARDLAB_BACKEND: 'cpu' } // nothing to compile
      const { code, stdout, stderr } = await rewardlab(['train', `configs/${file}`, ...all, '--json'], plain)
      assert.equal(code, 0, stderr + stdout)
      assert.match(stderr, /step 1\/1, /)
      const result = JSON.parse(stdout) as { step: number; evaluation: { metric: string; mean: number }[] }
      assert.equal(result.step, 1)
      assert.ok(result.evaluation.length > 0 && result.evaluation.every(({ mean }) => Number.isFinite(mean)))
      assert.ok(readdirSync(output).some(entry => entry.startsWith('events.out.tfevents.')))
      assert.ok(readdirSync(join(output, 'model')).some(entry => /safetensors$|^transformer$/.test(entry)))
    })
  }
}).timeout(120_000)

describe('train', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'train-'))))
  after(() => rmSync(dir, { recursive: true }))

  const pairs = [
    { prompt: 'one', chosen: ' two', rejected: ' six' },
    { prompt: 'two', chosen: ' three', rejected: ' nine' },
  ]
  async function experiment(output: string, ...sets: string[]) {
    writeFileSync(join(dir, 'pairs.jsonl'), pairs.map(row => JSON.stringify(row)).join('\n'))
    const dataset = { path: join(dir, 'pairs.jsonl') }
    const args = { max_steps: 3, per_device_train_batch_size: 2, learning_rate: 0.01, lr_scheduler_type: 'constant', eval_steps: 2 } // prettier-ignore
    const config = { optimizer: 'dpo', model: fixture('qwen2'), dataset, eval_dataset: dataset, args, output_dir: join(dir, output) } // prettier-ignore
    writeFileSync(join(dir, 'config.yaml'), JSON.stringify(config))
    return readExperiment(join(dir, 'config.yaml'), sets)
  }

  const steps = (output: string) => openRun(join(dir, output)).rows.map(row => row['step'])

  for (const adapter of ['null', '{ r: 2 }'])
    it(`leaves a run that opens again, and a model that evaluates as it did (adapter: ${adapter})`, async () => {
      const output = adapter === 'null' ? 'whole' : 'adapter'
      const given = await experiment(output, `adapter=${adapter}`)
      const result = await train(given)
      const run = openRun(join(dir, output))
      assert.deepEqual(run.rows.map(row => row['step']), [1, 2, 3]) // prettier-ignore
      assert.ok(run.rows.every(row => Number.isFinite(row['loss']) && Number.isFinite(row['grad_norm'])))
      assert.deepEqual(run.rows.map(row => 'eval_rewards/margins' in row), [false, true, true]) // prettier-ignore
      assert.deepEqual({ ...run.config, versions: null }, JSON.parse(JSON.stringify(given.config)))
      assert.match(String((parse(readFileSync(join(dir, output, 'config.yaml'), 'utf8')) as { versions: { node: string } }).versions.node), /^\d/) // prettier-ignore
      assert.equal(existsSync(join(dir, output, 'lock')), false)
      const margin = (metrics: typeof result.evaluation) => metrics.find(m => m.metric === 'rewards/margins')!.mean
      assert.ok(margin(result.evaluation) > 0.01, `two pairs are learnt: ${margin(result.evaluation)}`)
      const { metrics: again } = await evaluate(given, { trained: true })
      assert.ok(Math.abs(margin(again) - margin(result.evaluation)) < 1e-4, 'rounding of float32')
      assert.equal(margin((await evaluate(given)).metrics), 0)
    })

  it('ends after the step where it is stopped, and refuses a folder that exists', async () => {
    const stop = new AbortController()
    const given = await experiment('stopped', 'adapter={ r: 2 }')
    const result = await train(given, { signal: stop.signal, onRow: () => stop.abort() })
    assert.deepEqual([result.step, result.steps], [1, 3])
    assert.ok(existsSync(join(result.model, 'adapter_model.safetensors')))
    await assert.rejects(train(given), /output_dir .*stopped exists\. Name another, or pass --resume to go on/)
    assert.equal((await train(given, { overwrite: true })).step, 3)
  })

  it('keeps the weights before an error, and throws it', async () => {
    const reward = join(dir, 'fails.mjs')
    writeFileSync(reward, `let calls = 0
      export default ({ completions }) => completions.map((_, i) => { if (calls++ > 7) throw new Error('row ' + i + ': out of paper'); return i })`) // prettier-ignore
    const sets = ['optimizer=grpo', 'eval_dataset=null', 'args.eval_steps=null', 'adapter={ r: 2 }', `rewards={ mine: ${reward} }`] // prettier-ignore
    const grpo = [...sets, 'args.num_generations=2', 'args.max_completion_length=4', 'args.per_device_train_batch_size=4'] // prettier-ignore
    const failed = train(await experiment('failed', ...grpo))
    await assert.rejects(
      failed,
      /reward "mine" failed .*out of paper Once this is mended, train --resume goes on after step 1\.$/,
    )
    assert.equal(openRun(join(dir, 'failed')).rows.length, 1)
    assert.equal(openRun(join(dir, 'failed')).samples.numRows(), 2)
    assert.ok(existsSync(join(dir, 'failed', 'checkpoint-1', 'adapter_model.safetensors')))
    writeFileSync(join(dir, 'mended.mjs'), 'export default ({ completions }) => completions.map((_, i) => i)')
    const mended = await experiment('failed', ...grpo, `rewards.mine=${join(dir, 'mended.mjs')}`)
    assert.equal((await train(mended, { resume: true })).step, 3)
    assert.deepEqual(steps('failed'), [1, 2, 3])
  })

  it('leaves no folder where nothing was reached', async () => {
    const reward = join(dir, 'never.mjs')
    writeFileSync(reward, 'export default () => { throw new Error("offline") }')
    const sets = ['optimizer=grpo', 'eval_dataset=null', 'args.eval_steps=null', 'adapter={ r: 2 }', `rewards={ mine: ${reward} }`, 'args.num_generations=2', 'args.max_completion_length=4'] // prettier-ignore
    await assert.rejects(train(await experiment('nothing', ...sets)), /dry run on the data set's first 2 outputs/)
    writeFileSync(join(dir, 'prompts.jsonl'), '{"prompt":"one"}\n{"prompt":"two"}')
    const prompts = await experiment('nothing', ...sets, `dataset.path=${join(dir, 'prompts.jsonl')}`)
    await assert.rejects(train(prompts), /reward "mine" failed on a batch of 2: offline$/)
    assert.equal(existsSync(join(dir, 'nothing')), false)
  })

  it('goes on from checkpoints as if nothing had happened, past a damaged one', async () => {
    const files = (output: string) => readFileSync(join(dir, output, 'model', 'model.safetensors'))
    const five = ['args.max_steps=5', 'args.save_steps=2', 'args.shuffle=true', 'args.optim=adamw_torch']
    await train(await experiment('uninterrupted', ...five))
    const stop = new AbortController()
    const given = await experiment('resumed', ...five)
    await train(given, { signal: stop.signal, onRow: row => row.step === 3 && stop.abort() })
    const checkpoints = () => openRun(join(dir, 'resumed')).checkpoints.map(({ step }) => step)
    assert.deepEqual(checkpoints(), [2, 3])
    const path = join(dir, 'resumed', 'checkpoint-3', 'train_state.safetensors')
    const bytes = readFileSync(path)
    bytes[bytes.length - 9]! ^= 1
    writeFileSync(path, bytes)
    const notes: string[] = []
    assert.equal((await latestCheckpoint(join(dir, 'resumed'), note => notes.push(note)))!.step, 2)
    assert.match(notes[0]!, /checkpoint-3 is passed over: train_state\.safetensors is damaged: its SHA-256 is another/)
    await train(given, { resume: true })
    const numbers = (output: string) => openRun(join(dir, output)).rows.map(row => ({ ...row, step_time: 0 }))
    assert.deepEqual(numbers('resumed'), numbers('uninterrupted'))
    assert.ok(files('resumed').equals(files('uninterrupted')), 'bit for bit')
    assert.equal((await train(given, { resume: true })).step, 5)
    const limited = await experiment(
      'resumed',
      ...five,
      'args.max_steps=7',
      'args.save_steps=1',
      'args.save_total_limit=2',
    )
    await train(limited, { resume: true })
    assert.deepEqual(checkpoints(), [6, 7])
    const other = await experiment('resumed', ...five, 'args.learning_rate=0.5')
    await assert.rejects(
      train(other, { resume: true }),
      /--resume: learning_rate is 0\.5, but .*resumed was trained with 0\.01/,
    )
  })

  it('survives being killed while it trains and while it saves', async () => {
    const sets = ['args.max_steps=6', 'args.save_steps=1', 'eval_dataset=null', 'args.eval_steps=null']
    const run = async (output: string, moments: readonly [step: number, delay: number][]) => {
      const { config } = await experiment(output, ...sets)
      const path = join(dir, `${output}.yaml`)
      writeFileSync(path, JSON.stringify(config))
      for (const [step, delay] of moments) {
        const kill = (told: string, now: () => void) => told.includes(`step ${step}/`) && setTimeout(now, delay)
        assert.equal(await trainedUnlessKilled(path, { REWARDLAB_BACKEND: 'cpu' }, kill), false)
      }
      assert.equal(await trainedUnlessKilled(path, { REWARDLAB_BACKEND: 'cpu' }, () => {}), true)
      const rows = openRun(join(dir, output)).rows.map(row => ({ ...row, step_time: 0 }))
      return { rows, weights: readFileSync(join(dir, output, 'model', 'model.safetensors')) }
    }
    assert.deepEqual(await run('killed', [[2, 0], [4, 5]]), await run('alone', [])) // prettier-ignore
  })

  it('shows steps and the time left: one line on a terminal, some lines elsewhere', () => {
    const written = (isTTY: boolean) => {
      const texts: string[] = []
      const onRow = progress({ isTTY, write: (text: string) => texts.push(text) > 0 })
      for (let step = 1; step <= 40; step++) onRow({ step, reward: 0.5 }, 40)
      return texts
    }
    assert.equal(written(true).length, 40)
    assert.equal(written(true)[5], '\rstep 6/40, reward 0.500, 0:00 left\u001b[K')
    assert.equal(written(false).length, 20)
    assert.equal(written(false).at(-1), 'step 40/40, reward 0.500, 0:00 left\n')
  })

  it('says once what seems wrong', () => {
    const texts: string[] = []
    const watched = watch([], { kl: 'rollback' }, ({ text }) => texts.push(text))
    const acts: number[] = []
    for (let step = 1; step <= 20; step++)
      if (watched.see({ step, loss: step === 9 ? null : 1, kl: step / 10 })?.action === 'rollback') acts.push(step)
    assert.equal(texts.length, 2)
    assert.match(texts[0]!, /^The loss of step 9 is not a number/)
    assert.match(texts[1]!, /^KL run-away: the policy is 1\.0 nats/)
    assert.deepEqual(acts, [12, 13, 14, 15, 16, 17, 18, 19, 20])
    watched.rewind(10)
    assert.equal(watched.see({ step: 11, loss: 1, kl: 0.1 }), undefined)
    assert.equal(diskWarning(dir, 1), null)
    assert.match(
      diskWarning(dir, 1e18)!.text,
      /^Disk nearly full: \d+ MB are free at .*, and a checkpoint takes 1000000000000 MB/,
    )
  })
}).timeout(120_000)
