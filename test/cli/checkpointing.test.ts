import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { evaluate } from '../../src/cli/evaluate.js'
import { readExperiment, type Experiment } from '../../src/cli/experiment.js'
import { train } from '../../src/cli/train.js'
import { bestCheckpoint, openRun } from '../../src/runs/index.js'
import { fixture } from '../models/fixture.js'

describe('checkpoints of rewardlab train', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'checkpoints-'))))
  after(() => rmSync(dir, { recursive: true }))
  const write = (name: string, content: unknown): string => {
    writeFileSync(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content))
    return join(dir, name)
  }
  const dataset = () => {
    const row = { prompt: 'one', chosen: ' two', rejected: ' six' }
    return { path: write('pairs.jsonl', [row, { ...row, prompt: 'two' }].map(row => JSON.stringify(row)).join('\n')) }
  }
  const shared = { max_steps: 3, per_device_train_batch_size: 2, learning_rate: 0.01, save_steps: 1 }
  const dpo = (output: string, args: object): string =>
    write(`${output}.yaml`, { optimizer: 'dpo', model: fixture('qwen2'), dataset: dataset(), eval_dataset: dataset(), args: { ...shared, ...args }, output_dir: join(dir, output) }) // prettier-ignore
  const checkpoints = (output: string) => openRun(join(dir, output)).checkpoints.map(({ step }) => step)
  const weights = (...path: string[]) => readFileSync(join(dir, ...path, 'model.safetensors'))

  it('keep the best by a metric, and leave it at the end; durations do not follow the clock', async () => {
    const best = { eval_steps: 1, metric_for_best_model: 'rewards/margins', greater_is_better: false, load_best_model_at_end: true, save_total_limit: 1 } // prettier-ignore
    const path = dpo('best', best)
    const { now } = Date
    let jumps = 0
    Date.now = () => now() - 3_600_000 * ++jumps
    const result = await train(await readExperiment(path)).finally(() => (Date.now = now))
    assert.ok(openRun(join(dir, 'best')).rows.every(row => Number(row['step_time']) > 0))
    assert.deepEqual(
      [result.step, result.kept, result.metrics.step],
      [3, 1, 1],
      'margins grow, and less is better here',
    )
    assert.deepEqual(checkpoints('best'), [1, 3])
    const value = result.metrics['eval_rewards/margins']
    const named = JSON.parse(readFileSync(join(dir, 'best', 'checkpoints.json'), 'utf8')) as object
    assert.deepEqual(named, { latest: 'checkpoint-3', best: { checkpoint: 'checkpoint-1', metric: 'eval_rewards/margins', value, greater_is_better: false } }) // prettier-ignore
    assert.equal((await bestCheckpoint(join(dir, 'best')))!.step, 1)
    assert.ok(weights('best', 'model').equals(weights('best', 'checkpoint-1')))
    const again = (await evaluate(await readExperiment(path), { trained: true })).metrics.find(m => m.metric === 'rewards/margins')! // prettier-ignore
    assert.ok(Math.abs(again.mean - Number(value)) < 1e-4, 'rounding of float32')
    const other = readExperiment(path, ['args.metric_for_best_model=accuracy', `output_dir=${join(dir, 'other')}`])
    await assert.rejects(train(await other), /metric_for_best_model is "accuracy", but the evaluation has eval_rewards\/accuracies/) // prettier-ignore
    await assert.rejects(readExperiment(path, ['args.save_steps=3', 'args.eval_steps=2']), /save_steps \(3\) must be a multiple of eval_steps \(2\)/) // prettier-ignore
    await assert.rejects(readExperiment(path, ['args.on_warning={ KL: stop }']), /on_warning is "KL", needs one of .* Did you mean "kl"/) // prettier-ignore
  })

  /** GRPO whose rewards tell completions apart only in the calls that `differs` says. */
  const flat = async (output: string, differs: string, action: string, more = {}): Promise<Experiment> => {
    const use = write(`${output}.mjs`, `let call = 0; export default ({ completions }) => { call++; return completions.map((_, i) => (${differs} ? i : 0)) }`) // prettier-ignore
    const path = write('prompts.jsonl', '{"prompt":"one"}\n{"prompt":"two"}\n{"prompt":"three"}')
    const args = { ...shared, max_steps: 10, per_device_train_batch_size: 4, num_generations: 2, max_completion_length: 4, on_warning: { flat_rewards: action }, ...more } // prettier-ignore
    return readExperiment(write(`${output}.yaml`, { optimizer: 'grpo', model: fixture('qwen2'), dataset: { path }, rewards: { mine: use }, args, output_dir: join(dir, output) })) // prettier-ignore
  }

  it('are what a run goes back to at a warning, on with other rows', async () => {
    const told: string[] = []
    const given = await flat('back', 'call < 4 || call > 8', 'rollback')
    const result = await train(given, { onWarning: text => told.push(text) })
    assert.deepEqual([result.step, result.stopped], [10, null])
    const [, second] = told.filter(text => text.startsWith('Flat'))
    assert.match(second!, /^Flat rewards: in 80 % of the groups.* Back to .*back\/checkpoint-2, on with other rows\.$/)
    const { rows } = openRun(join(dir, 'back'))
    assert.deepEqual(rows.map(row => [row['step'], row['epoch']]), Array.from({ length: 10 }, (_, i) => [i + 1, (2 * (i < 2 ? i + 1 : i + 6)) / 3])) // prettier-ignore
  })

  it('are kept where a warning ends a run: at once, or where there is none left to go back to', async () => {
    const stopped = await train(await flat('stopped', 'false', 'stop'))
    assert.deepEqual([stopped.step, stopped.steps], [5, 10])
    assert.match(stopped.stopped!, /^Flat rewards/)
    assert.ok(existsSync(join(dir, 'stopped', 'result.json')) && existsSync(join(stopped.model, 'model.safetensors')))
    const told: string[] = []
    const further = await train(await flat('further', 'call < 4', 'rollback'), { onWarning: text => told.push(text) })
    assert.equal(further.step, 5)
    assert.equal(told.filter(text => /Back to .*checkpoint-[21],/.test(text)).length, 2)
  })

  it('are gone back to three times without a later one, and what was told stays in the folder', async () => {
    const told: string[] = []
    const fourOfSix = 'call < 7 || (call - 7) % 6 > 3' // after step 4 two steps that differ and four that do not, again and again
    const given = await flat('limit', fourOfSix, 'rollback', { max_steps: 12, save_steps: 2 })
    const result = await train(given, { onWarning: text => told.push(text) })
    assert.equal(result.step, 10)
    assert.match(result.stopped!, /^Flat rewards/)
    const flatOnes = told.filter(text => text.startsWith('Flat'))
    const backs = flatOnes.map(text => /Back to .*(checkpoint-\d+), on/.exec(text)?.[1])
    const four = 'checkpoint-4'
    assert.deepEqual(backs, [undefined, four, undefined, four, undefined, four, undefined])
    const { warnings } = openRun(join(dir, 'limit'))
    assert.deepEqual(warnings.map(({ text }) => text), told) // prettier-ignore
    const flatRows = warnings.filter(({ kind }) => kind === 'flat_rewards')
    assert.deepEqual(flatRows.map(({ step }) => step), flatOnes.map(() => 10)) // prettier-ignore
  })

  it('stay whole where one finds no room, and the run goes on once there is some', () => {
    const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
    const env = { ...process.env, REWARDLAB_BACKEND: 'cpu' }
    const command = (output: string, steps: number) => ['train', dpo(output, { max_steps: steps, save_steps: 2, lr_scheduler_type: 'constant' }), '--resume'] // prettier-ignore
    execFileSync(process.execPath, [main, ...command('room', 2)], { env, stdio: 'ignore' })
    const small = ['-c', 'ulimit -f 64; exec "$@"', 'sh', process.execPath, main] // files of 64 KiB at most, as on a disk that is full
    const { status, stderr } = spawnSync('bash', [...small, ...command('room', 4)], { env, encoding: 'utf8' })
    assert.equal(status, 1)
    assert.match(stderr, /checkpoint-4: cannot be written \(EFBIG.*Those before are whole\. Free some space.*train --resume goes on after step 2\./) // prettier-ignore
    assert.deepEqual(checkpoints('room'), [2])
    assert.ok(readdirSync(join(dir, 'room')).every(entry => !entry.endsWith('.tmp') && entry !== 'lock'))
    for (const output of ['room', 'alone']) execFileSync(process.execPath, [main, ...command(output, 4)], { env, stdio: 'ignore' }) // prettier-ignore
    assert.ok(weights('room', 'model').equals(weights('alone', 'model')), 'bit for bit')
  })
}).timeout(600_000)
