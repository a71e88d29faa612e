import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { packageRoot } from '../../src/xla/index.js'
import { of, value } from './answers.js'
import { Client } from './client.js'

const STEPS = 6

describe('interrupt of a training run', function () {
  this.timeout(60_000)
  let kernel: Client
  let uninterrupted: unknown

  const run = async (code: string) => {
    const answer = await kernel.execute(code)
    assert.equal(answer.reply['status'], 'ok', JSON.stringify(answer.reply))
    return value(answer)
  }
  const losses = (name: string) =>
    run(`JSON.stringify((await ${name}.done()).rows.map(({ step, loss, reward }) => [step, loss, reward]))`)

  before(async () => {
    kernel = await Client.start()
    await run(`
      import { arithmeticProblems } from 'rewardlab/datasets'
      import { grpo } from 'rewardlab/optimizers'
      import { loadPolicy } from 'rewardlab/policies'
      import { completionLength, weighted } from 'rewardlab/rewards'
      import { start } from 'rewardlab/xla'
      await start()
      const base = await loadPolicy('${join(packageRoot(), 'data/models/tiny-qwen2')}')
      const rows = arithmeticProblems({ seed: 3, size: 100 }).train
      const hold = { calls: 0, until: Infinity }
      const length = completionLength()
      const rewards = weighted({ length: [async batch => {
        await new Promise(resolve => setTimeout(resolve, 50)) // else all steps are done before the interrupt comes
        hold.calls++
        if (hold.calls > hold.until) console.log('held')
        while (hold.calls > hold.until) ;
        return length(batch)
      }, 1] })
      const train = () => grpo(base.fork(), rows, rewards, {
        max_steps: ${STEPS}, per_device_train_batch_size: 16, num_generations: 4, max_completion_length: 8, seed: 5, learning_rate: 1e-3
      })`)
    uninterrupted = await losses('train()')
  })
  after(() => kernel.stop())

  /** Runs a cell, interrupts it once `ready`, and returns what it showed and the milliseconds until it was free. */
  async function interrupted(code: string, ready: () => boolean | Promise<boolean>) {
    const cell = kernel.execute(code)
    while (!(await ready())) await setTimeout(2)
    const start = performance.now()
    await kernel.interrupt()
    const answer = await cell
    const took = performance.now() - start
    assert.equal(answer.reply['ename'], 'KeyboardInterrupt')
    assert.ok(took < 2000, `${took} ms`) // the long check `kernel` has the real bound
    return of(answer, 'display_data').map(({ content }) => (content['data'] as Record<string, string>)['text/plain'])
  }
  const shown = (text: string) => kernel.broadcasts.some(({ content }) => content['text'] === text)

  it('frees the cell, ends it at a program boundary, and lets it go on as if nothing had been', async () => {
    await run('const first = train()')
    for (const step of [1, 3]) {
      const at = `at step ${step}\n`
      const output = await interrupted(
        `for await (const row of first) if (row.step === ${step}) console.log('at step ${step}')`,
        () => shown(at),
      )
      assert.deepEqual(output, ['grpo: stopping …'])
    }
    await setTimeout(200)
    assert.ok(Number(await run('first.rows.length')) < STEPS, 'the loop of an interrupted cell went on')
    const told = kernel.broadcasts.filter(({ header }) => header.msg_type === 'update_display_data').at(-1)!
    assert.match(
      (told.content['data'] as Record<string, string>)['text/plain']!,
      /^grpo: stopped after step \d\/6; await run\.done\(\) goes on from there$/,
    )
    assert.equal(await losses('first'), uninterrupted)
  })

  it('ends code of the run that holds the thread, and the run goes on from its state', async () => {
    await run('const second = train(); hold.calls = 0; hold.until = 2')
    await interrupted('await second.done()', () => shown('held\n'))
    assert.equal(await run('hold.until = Infinity; second.rows.length'), '2')
    assert.equal(await losses('second'), uninterrupted)
  })

  it('waits where the thread of a run is slow, and loses nothing', async () => {
    // 16 rows: half a second in one turn
    await run(`const slow = base.tokenizer.decode
      Object.assign(base.tokenizer, { decode: (...ids: Parameters<typeof slow>) => {
        console.log('decoding')
        for (const until = Date.now() + 30; Date.now() < until; ) ;
        return slow(...ids)
      } })
      const fourth = train()`)
    await interrupted('await fourth.done()', () => shown('decoding\n'))
    await run('Object.assign(base.tokenizer, { decode: slow })')
    assert.equal(await losses('fourth'), uninterrupted)
  })

  it('of another cell leaves a run in the background as it is', async () => {
    await run('const third = train(); const background = third.done()')
    await interrupted('console.log("looping"); while (true) ;', () => shown('looping\n'))
    await run('await background')
    assert.equal(await losses('third'), uninterrupted)
  })
})
