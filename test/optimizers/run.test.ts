import assert from 'node:assert/strict'
import { Run, type Row, type TrainState } from '../../src/optimizers/index.js'
import type { Course } from '../../src/optimizers/interrupt.js'

const run = (rows: (course?: Course) => AsyncGenerator<Row, void>) =>
  new Run({
    name: 'test',
    seed: 1,
    config: {},
    steps: 3,
    rows,
    state: () => ({}) as TrainState,
    free: () => {},
  })

async function* three(): AsyncGenerator<Row, void> {
  for (let step = 1; step <= 3; step++) yield await Promise.resolve({ step })
}

const signal = Symbol.for('rewardlab.signal')

describe('Run', () => {
  it('does nothing until asked, gives every reader all rows, and goes on after a break', async () => {
    let done = 0
    const r = run(async function* () {
      for await (const row of three()) {
        done++
        yield row
      }
    })
    assert.equal(done, 0)
    for await (const row of r) if (row.step === 2) break
    assert.equal(done, 2)
    const seen: number[] = []
    for await (const row of r) seen.push(row.step)
    assert.deepEqual(seen, [1, 2, 3])
    assert.equal((await r.finished).rows.length, 3)
  })

  it('shares updates among readers at the same time', async () => {
    const r = run(three)
    const read = async () => {
      const steps: number[] = []
      for await (const row of r) steps.push(row.step)
      return steps
    }
    assert.deepEqual(await Promise.all([read(), read()]), [
      [1, 2, 3],
      [1, 2, 3],
    ])
    assert.equal(r.rows.length, 3)
  })

  it('rejects with an update’s error, keeps the rows before it, and tries again when asked', async () => {
    let [step, mended] = [0, false]
    const r = run(async function* () {
      while (step < 3) {
        if (step === 1 && !mended) throw new Error('reward "x" failed')
        yield await Promise.resolve({ step: ++step })
      }
    })
    await assert.rejects(r.done(), /reward "x" failed/)
    await assert.rejects(Promise.all([r.done(), r.done()]), /reward "x" failed/)
    assert.deepEqual(r.rows, [{ step: 1 }])
    mended = true
    assert.deepEqual((await r.done()).rows.map(row => row.step), [1, 2, 3]) // prettier-ignore
  })

  it('ends with an error that came while the state was replaced', async () => {
    const r = run(async function* (course) {
      yield await Promise.resolve({ step: 1 })
      course!.updating = true
      throw new Error('out of memory')
    })
    for (let i = 0; i < 2; i++) await assert.rejects(r.done(), /out of memory/)
    assert.deepEqual(r.rows, [{ step: 1 }])
  })

  it('stops at an interrupt between updates, and can go on', async () => {
    const controller = new AbortController()
    const globals = globalThis as Record<symbol, unknown>
    globals[signal] = () => controller.signal
    try {
      const r = run(three)
      await assert.rejects(async () => {
        for await (const row of r) if (row.step === 2) controller.abort(new Error('interrupted'))
      }, /interrupted/)
      assert.equal(r.rows.length, 2)
      globals[signal] = () => new AbortController().signal
      assert.equal((await r.done()).rows.length, 3)
    } finally {
      Reflect.deleteProperty(globals, signal)
    }
  })

  it('an unfinished run ends when it is disposed', async () => {
    const r = run(three)
    for await (const row of r) if (row.step === 1) break
    r.dispose()
    assert.deepEqual((await r.done()).rows, [{ step: 1 }])
  })
})
