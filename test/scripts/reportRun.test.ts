import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createRun, type RunWriter } from '../../src/runs/index.js'
import { temporaryFolder } from '../runs/temporary.js'

const python = existsSync('.venv/bin/python') ? '.venv/bin/python' : 'python3'

/** Stands in for wandb and trackio: writes down what it is told. */
const SERVICE = `
import json
calls = open(__file__ + "l", "a")
def note(name, /, *args, **named):
    print(json.dumps([name, *args, named]), file=calls, flush=True)
init = lambda **named: note("init", **named)
log = lambda metrics, step: note("log", {k: repr(v) for k, v in metrics.items()}, step=step)
finish = lambda: note("finish")
`

describe('scripts/report_run.py', () => {
  const dir = temporaryFolder()
  const prepared = (): { run: RunWriter; env: NodeJS.ProcessEnv; calls: () => unknown[][] } => {
    mkdirSync(join(dir(), 'modules'))
    for (const service of ['wandb', 'trackio']) writeFileSync(join(dir(), 'modules', `${service}.py`), SERVICE)
    const calls = () =>
      ['wandb', 'trackio']
        .map(service => join(dir(), 'modules', `${service}.pyl`))
        .filter(path => existsSync(path))
        .flatMap(path => readFileSync(path, 'utf8').split('\n').slice(0, -1))
        .map(line => JSON.parse(line) as unknown[])
    const run = createRun('grpo-1', { optimizer: 'grpo', args: { beta: 0.1 } }, { dir: dir() })
    return { run, env: { ...process.env, PYTHONPATH: join(dir(), 'modules') }, calls }
  }

  for (const service of ['wandb', 'trackio'])
    it(`sends a finished run to ${service}`, async () => {
      const { run, env, calls } = prepared()
      run.log({ step: 1, loss: 0.5, 'rewards/right/mean': 1, note: 'x', kl: null })
      run.log({ step: 2, loss: NaN, eval_loss: 0.25 })
      run.close()
      writeFileSync(join(run.dir, 'metrics.jsonl'), '{"step": 3, "lo', { flag: 'a' }) // torn by a crash
      const { stdout } = await promisify(execFile)(python, ['scripts/report_run.py', run.dir, '--to', service], { env })
      assert.match(stdout, new RegExp(`^2 rows of .*grpo-1 sent to ${service}`))
      assert.deepEqual(calls(), [
        ['init', { project: 'rewardlab', name: 'grpo-1', config: { optimizer: 'grpo', args: { beta: 0.1 } } }],
        ['log', { 'train/loss': '0.5', 'train/rewards/right/mean': '1' }, { step: 1 }],
        ['log', { 'train/loss': 'nan', 'eval/loss': '0.25' }, { step: 2 }],
        ['finish', {}],
      ])
    })

  it('follows a run until it ends, and sends each step once', async () => {
    const { run, env, calls } = prepared()
    run.log({ step: 1, loss: 3 })
    const code = 'import report_run; report_run.POLL_SECONDS = 0.05; report_run.main()'
    const child = spawn(python, ['-c', code, run.dir, '--to', 'wandb', '--follow'], {
      env: { ...env, PYTHONPATH: `${env['PYTHONPATH']}:scripts`, PYTHONDONTWRITEBYTECODE: '1' },
    })
    const ended = new Promise(resolve => child.once('exit', resolve))
    const until = async (n: number) => {
      while (calls().length < n && child.exitCode === null) await new Promise(resolve => setTimeout(resolve, 20))
    }
    await until(2)
    run.log({ step: 2, loss: 2 })
    await until(3)
    run.log({ step: 3, loss: 1 })
    run.close()
    assert.equal(await ended, 0)
    assert.deepEqual(calls().map(call => (call.at(-1) as { step?: number }).step), [undefined, 1, 2, 3, undefined]) // prettier-ignore
  })

  it('says what it needs', async () => {
    const { run } = prepared()
    run.close()
    const failed = promisify(execFile)(python, ['scripts/report_run.py', dir(), '--to', 'wandb'])
    await assert.rejects(failed, /has no config.yaml, needed the folder of a run/)
  })
})
