import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createRun, listRuns, openRun, type RunWriter } from '../../src/runs/index.js'
import { temporaryFolder } from './temporary.js'

describe('createRun, openRun, listRuns', () => {
  const dir = temporaryFolder()
  const config = {
    optimizer: 'grpo',
    args: { learning_rate: 1e-4, beta: 0, loss_type: 'dapo', target_modules: ['q_proj'] },
  }
  const written = (name: string, rows: object[]): RunWriter => {
    const run = createRun(name, config, { dir: dir() })
    for (const row of rows) run.log(row)
    run.close()
    return run
  }

  it('reopens as it was written', async () => {
    const run = createRun('grpo-1', config, { dir: dir() })
    run.log({ step: 1, loss: 0.5 })
    run.log({ step: 2, loss: 0.25, kl: 0.01 })
    run.logSamples([{ step: 2, completion: 'add: 1+1=2\n<answer>2</answer>', format: 1, correct: null }])
    await run.checkpoint(10, folder => writeFileSync(join(folder, 'state'), 'ten'))
    await run.checkpoint(2, folder => writeFileSync(join(folder, 'state'), 'two'))
    const going = openRun(run.dir) // readable while it is written
    run.close()
    const stored = openRun(run.dir)
    assert.deepEqual(going.rows, stored.rows)
    assert.equal(stored.name, 'grpo-1')
    assert.deepEqual(stored.config, config)
    assert.deepEqual(stored.rows, [
      { step: 1, loss: 0.5 },
      { step: 2, loss: 0.25, kl: 0.01 },
    ])
    assert.deepEqual(stored.metrics.columnNames(), ['step', 'loss', 'kl'])
    assert.deepEqual(stored.metrics.array('kl'), [undefined, 0.01])
    assert.equal(stored.samples.get('completion', 0), 'add: 1+1=2\n<answer>2</answer>')
    assert.deepEqual(
      stored.checkpoints.map(checkpoint => [checkpoint.step, readFileSync(join(checkpoint.dir, 'state'), 'utf8')]),
      [
        [2, 'two'],
        [10, 'ten'],
      ],
    )
    assert.deepEqual(stored.notes, [])
    assert.deepEqual(readdirSync(run.dir).sort(), [
      'checkpoint-10',
      'checkpoint-2',
      'checkpoints.json',
      'config.yaml',
      'metrics.jsonl',
      'samples.jsonl',
      'warnings.jsonl',
    ])
  })

  it('keeps losses that are no numbers', () => {
    const { dir: folder } = written('diverged', [{ step: 1, loss: NaN, grad_norm: Infinity }])
    assert.deepEqual(openRun(folder).rows, [{ step: 1, loss: NaN, grad_norm: Infinity }])
  })

  it('leaves no trace of a checkpoint that failed, and keeps the one before', async () => {
    const run = createRun('a', config, { dir: dir() })
    await run.checkpoint(1, folder => writeFileSync(join(folder, 'state'), 'good'))
    const fails = (folder: string): never => {
      writeFileSync(join(folder, 'state'), 'half')
      throw new Error('disk full')
    }
    await assert.rejects(run.checkpoint(1, fails), /disk full/)
    await assert.rejects(run.checkpoint(2, fails), /disk full/)
    const { checkpoints } = openRun(run.dir)
    assert.deepEqual(
      checkpoints.map(checkpoint => checkpoint.step),
      [1],
    )
    assert.equal(readFileSync(join(checkpoints[0]!.dir, 'state'), 'utf8'), 'good')
    run.close()
  })

  it('refuses an existing run, replaces it or adds to it', () => {
    const { dir: folder } = written('a', [{ step: 1 }])
    assert.throws(() => createRun('a', config, { dir: dir() }), /createRun: .*a exists\. Choose another name/)
    const more = createRun('a', config, { dir: dir(), existing: 'append' })
    more.log({ step: 2 })
    more.close()
    assert.deepEqual(openRun(folder).rows, [{ step: 1 }, { step: 2 }])
    mkdirSync(join(folder, 'checkpoint-1'))
    createRun('a', { ...config, optimizer: 'srpo' }, { dir: dir(), existing: 'replace' }).close()
    const anew = openRun(folder)
    assert.deepEqual([anew.config.optimizer, anew.rows, anew.checkpoints], ['srpo', [], []])
  })

  it('replaces nothing that is no run', () => {
    const folder = join(dir(), 'thesis')
    mkdirSync(folder)
    writeFileSync(join(folder, 'chapter'), 'text')
    assert.throws(
      () => createRun('thesis', config, { dir: dir(), existing: 'replace' }),
      /no config\.yaml, so it is no run/,
    )
    assert.deepEqual(readdirSync(folder), ['chapter'])
  })

  it('refuses bad names, configs that YAML cannot hold, and use after close', () => {
    for (const name of ['', '..', '../a', 'a/b', '.hidden', 'a b'])
      assert.throws(() => createRun(name, config, { dir: dir() }), /the name is/, name)
    assert.throws(() => createRun('a', { reward: () => 1 }, { dir: dir() }), /holds what YAML cannot/)
    assert.equal(existsSync(join(dir(), 'a')), false)
    const run = written('b', [])
    assert.throws(() => run.log({ step: 1 }), /the run is closed/)
    run.close()
  })

  it('says which folder cannot be written', () => {
    chmodSync(dir(), 0o555)
    const root = process.getuid!() === 0
    if (root) process.seteuid!(65534) // whom permissions bind
    try {
      assert.throws(
        () => createRun('a', config, { dir: dir() }),
        /createRun: .*a cannot be made \(EACCES.*Name a folder/,
      )
    } finally {
      if (root) process.seteuid!(0)
      chmodSync(dir(), 0o755)
    }
  })

  it('lists runs, the latest first', () => {
    written('old', [{ step: 1 }])
    written('new', [{ step: 1 }])
    utimesSync(join(dir(), 'old', 'metrics.jsonl'), 1000, 1000)
    mkdirSync(join(dir(), 'no-run'))
    assert.deepEqual(
      listRuns(dir()).map(run => run.name),
      ['new', 'old'],
    )
    assert.deepEqual(listRuns(join(dir(), 'absent')), [])
    assert.throws(() => openRun(join(dir(), 'no-run')), /no-run has no config\.yaml, needed the folder of a run/)
  })
})
