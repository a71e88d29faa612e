import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runSweep } from '../../src/cli/sweep.js'
import { prepareSweep } from '../../src/cli/sweepTrials.js'
import { openRun, openSweep, type StoredTrial } from '../../src/runs/index.js'
import { fixture } from '../models/fixture.js'
import { rewardlab } from './rewardlab.js'

describe('rewardlab sweep', () => {
  let dir: string
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'sweep-'))))
  afterEach(() => rmSync(dir, { recursive: true }))
  const backend = process.env.REWARDLAB_BACKEND
  before(() => (process.env.REWARDLAB_BACKEND = 'cpu')) // of the trials: nothing to compile
  after(() =>
    backend === undefined ? delete process.env.REWARDLAB_BACKEND : (process.env.REWARDLAB_BACKEND = backend),
  )
  const write = (name: string, content: unknown): string => {
    writeFileSync(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content))
    return join(dir, name)
  }
  const pairs =
    '{"prompt":"one","chosen":" two","rejected":" six"}\n{"prompt":"two","chosen":" three","rejected":" nine"}'
  const args = { max_steps: 8, save_steps: 2, per_device_train_batch_size: 2, learning_rate: 0.01 }
  const config = (name: string, more = {}): string =>
    write(name, { optimizer: 'dpo', model: fixture('qwen2'), dataset: { path: join(dir, 'a.jsonl') }, args, ...more })
  const sweep = (given: object): string => write('sweep.yaml', { output_dir: join(dir, 'out'), ...given })

  it('lays out every combination, and refuses what is wrong before anything is trained', async () => {
    const configs = [config('one.yaml'), config('two.yaml', { optimizer: 'sft' })]
    const over = { args: { seed: [1, 2], optim: ['adamw_torch', 'adamw_8bit'] }, adapter: [null, { r: 4 }] }
    const path = sweep({ config: configs, set: { args: { max_steps: 9 } }, over })
    const out = await prepareSweep(path)
    const { trials, comparison, table } = openSweep(out)
    assert.deepEqual([trials.length, comparison.numRows(), table.numRows()], [16, 0, 16])
    assert.ok(trials.every(({ state }) => state === 'waiting'))
    const { name, settings } = trials[1]!
    assert.match(name, /^one_seed-1_optim-adamw-torch-[0-9a-f]{6}_adapter--r-4--[0-9a-f]{6}$/)
    assert.deepEqual(settings, { config: 'one', seed: 1, optim: 'adamw_torch', adapter: { r: 4 } })
    assert.match(
      readFileSync(join(out, `${name}.yaml`), 'utf8'),
      /max_steps: 9[^]*seed: 1\n[^]*output_dir: .*one_seed-1/,
    )
    await assert.rejects(prepareSweep(path, ['over.args.seeds=[1]']), /unknown key "seeds"\. Did you mean "seed"/)
    await assert.rejects(prepareSweep(path, ['over.args.beta=1']), /over\.args\.beta is 1, needs a list of values/)
    await assert.rejects(prepareSweep(path, ['over.args.seed=[1, 1]']), /two trials are called one_seed-1/)
    await assert.rejects(prepareSweep(path, ['outputs=x']), /unknown key "outputs"/)
    assert.throws(() => openSweep(dir), /has no trials\.yaml, needed the folder of a sweep/)
  })

  it('goes on after the sweep or a trial was killed, names what failed, and averages over seeds', async () => {
    write('a.jsonl', pairs)
    const over = { dataset: { path: [join(dir, 'a.jsonl'), join(dir, 'later.jsonl')] }, args: { seed: [1] } }
    const path = sweep({ config: config('dpo.yaml'), over, metrics: ['loss'] })
    const out = await prepareSweep(path)
    const [first] = openSweep(out).trials as [StoredTrial, ...StoredTrial[]]
    const log = () => (existsSync(`${first.dir}.log`) ? readFileSync(`${first.dir}.log`, 'utf8') : '')

    const whole = fork('dist/src/cli/main.js', ['sweep', path], { silent: true })
    while (!log().includes('step 1/')) await sleep(20)
    whole.kill('SIGKILL')
    await once(whole, 'exit')
    const between = openSweep(out).trials.map(({ state }) => state)
    assert.ok(
      between.every(state => state === 'waiting' || state === 'running'),
      between.join(),
    )

    let killed = false
    const kill = setInterval(() => {
      if (killed || !/step [4-8]\//.test(log())) return
      const { pid } = JSON.parse(readFileSync(join(first.dir, 'lock'), 'utf8')) as { pid: number }
      killed = process.kill(pid, 'SIGKILL')
    }, 2)
    const again = await runSweep(out)
    clearInterval(kill)
    assert.ok(killed)
    assert.deepEqual(again.trials.map(({ state }) => state), ['done', 'failed']) // prettier-ignore
    assert.match(again.trials[1]!.error!, /later\.jsonl: ENOENT/)
    assert.deepEqual(openRun(first.dir).rows.map(({ step }) => step), Array.from({ length: 8 }, (_, i) => i + 1)) // prettier-ignore

    const written = statSync(join(first.dir, 'result.json')).mtimeMs
    write('later.jsonl', pairs)
    await prepareSweep(path, ['over.args.seed=[1, 2]']) // gains two
    for (const { dir, settings } of openSweep(out).trials)
      if (settings['seed'] === 2) {
        mkdirSync(dir)
        writeFileSync(join(dir, 'result.json'), JSON.stringify({ metrics: { step: 8, loss: 1 } }))
      }
    const { code, stdout, stderr } = await rewardlab(['sweep', path, '--jobs', '2', '--set', 'over.args.seed=[1, 2]'])
    assert.equal(code, 0, stderr)
    assert.match(stderr, /^4\/4 dpo_path-.*later.*: done\n$/)
    assert.match(
      stdout,
      /^4 of 4 trials are done\.\npath +n +loss\n.*a\.jsonl +2 +0\.\d+ \[-[\d.]+, [\d.]+\]\n.*later\.jsonl +2 /,
    )
    assert.equal(statSync(join(first.dir, 'result.json')).mtimeMs, written, 'done trials stay')
    const { comparison, table } = openSweep(out)
    assert.deepEqual(comparison.columnNames(), ['path', 'n', 'loss', 'loss_low', 'loss_high'])
    assert.equal(new Set(table.array('loss')).size, 2, 'both files hold the same pairs')
    assert.ok(readdirSync(out).includes('comparison.csv'))
    await assert.rejects(prepareSweep(path, ['set.args.learning_rate=0.5']), /learning_rate is 0\.5, but .*was begun with 0\.01/) // prettier-ignore
  })
}).timeout(600_000)
