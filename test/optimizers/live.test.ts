import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { Run, type Row, type TrainState } from '../../src/optimizers/index.js'
import { answerFormat, weighted } from '../../src/rewards/index.js'
import { displaySymbol, type Displayable } from '../../src/widgets/index.js'
import { setNotebook } from '../../src/widgets/notebook.js'
import { FakeNotebook } from '../widgets/fakeNotebook.js'

const steps = 3
const rewards = weighted({ format: [answerFormat(), 0.5] })

/** A run whose steps wait for `gate`. */
function run(gate: (step: number) => Promise<unknown> = () => Promise.resolve()): Run {
  async function* rows(): AsyncGenerator<Row, void> {
    for (let step = 1; step <= steps; step++) {
      await gate(step)
      await rewards.score({ prompts: ['2 + 2', '2 + 2'], completions: ['four', '<answer>4</answer>'] })
      yield { step, reward: step / 2, loss: 1 }
    }
  }
  const scored = () => rewards.last && { ...rewards.last, weights: rewards.weights }
  const state = () => ({}) as TrainState
  return new Run({ name: 'a < b', seed: 1, config: {}, steps, rows, state, scored, free: () => {} })
}

describe('Run.live', () => {
  let browser: FakeNotebook
  beforeEach(() => setNotebook((browser = new FakeNotebook())))
  after(() => setNotebook(undefined))

  /** What each output of the cell showed last. */
  const last = () => [...new Map(browser.shown.map(({ id, value }) => [id, value])).values()]
  const htmlOf = async (value: unknown) => String((await (value as Displayable)[displaySymbol]())['text/html'])
  const press = () => browser.receive(browser.widgets('Button')[0]!, { method: 'custom', content: { event: 'click' } })

  it('leaves plain outputs: a line, a chart, and samples with their components', async () => {
    await run().live(r => `${r.rows.length} rows`)
    const [line, chart, gallery] = last()
    assert.match(await htmlOf(line), /^<b>a &lt; b<\/b> done at step 3\/3 · 3 steps in \d s$/)
    assert.equal(chart, '3 rows')
    const cards = await htmlOf(gallery)
    assert.match(cards, /best of 2.*&lt;answer&gt;4.*reward <b>0\.5<.*format <b>1<.*worst of 2.*four.*format <b>0</s)
  })

  it('draws the reward by default, or the metrics asked for', async () => {
    await run().live()
    const chart = last()[1] as { layer: { encoding: { y: { title: string } } }[] }
    assert.equal(chart.layer[0]!.encoding.y.title, 'reward')
    browser.shown.length = 0
    await run().live(['reward', 'loss'])
    assert.equal((last()[1] as { vconcat: unknown[] }).vconcat.length, 2)
  })

  it('stops after the step in which the button is pressed, and goes on when asked', async () => {
    const r = run(step => (step === 2 ? Promise.resolve().then(press) : Promise.resolve()))
    await r.live()
    assert.equal(r.rows.length, 2)
    assert.match(await htmlOf(last()[0]), /stopped at step 2\/3/)
    assert.equal((await r.done()).rows.length, 3)
  })

  it('says at once that it is stopping when its cell is interrupted, and ends after the step, whatever cell runs by then', async () => {
    const [first, second] = [new AbortController(), new AbortController()]
    const globals = globalThis as Record<symbol, unknown>
    const signal = Symbol.for('rewardlab.signal')
    globals[signal] = () => first.signal
    let seen: unknown[] = []
    try {
      const r = run(async step => {
        if (step !== 2) return
        first.abort(new Error('interrupted'))
        globals[signal] = () => second.signal
        await setTimeout(0)
        seen = browser.values(browser.widgets('HTML')[0]!, 'value')
      })
      await assert.rejects(r.live(), /interrupted/)
      assert.match(String(seen.at(-1)), /stopping …/)
      assert.equal(r.rows.length, 2)
      assert.match(await htmlOf(last()[0]), /stopped at step 2\/3/)
    } finally {
      Reflect.deleteProperty(globals, signal)
    }
  })

  it('ends after an interrupt that broke the step’s own code off', async () => {
    const controller = new AbortController()
    const interrupted = new Set<(terminated: boolean) => void>()
    const globals = globalThis as Record<symbol, unknown>
    const [signal, repairs] = [Symbol.for('rewardlab.signal'), Symbol.for('rewardlab.interrupted')]
    Object.assign(globals, { [signal]: () => controller.signal, [repairs]: interrupted })
    try {
      const live = run(() => new Promise(() => {})).live()
      await setTimeout(10)
      for (const repair of interrupted) repair(true)
      controller.abort(new Error('interrupted'))
      await assert.rejects(live, /interrupted/)
      assert.match(await htmlOf(last()[0]), /stopped at step 0\/3/)
    } finally {
      for (const key of [signal, repairs]) Reflect.deleteProperty(globals, key)
    }
  })

  it('passes an error on, and shows what was reached', async () => {
    const r = run(step => (step === 2 ? Promise.reject(new Error('reward "x" failed')) : Promise.resolve()))
    await assert.rejects(r.live(), /reward "x" failed/)
    assert.match(await htmlOf(last()[0]), /ended by an error at step 1\/3/)
  })

  it('prints lines outside a notebook', async () => {
    setNotebook(undefined)
    const printed: string[] = []
    const { log } = console
    console.log = (text: string) => void printed.push(text)
    try {
      await run().live()
    } finally {
      console.log = log
    }
    assert.match(printed.at(-1)!, /^a < b: done at step 3\/3/)
  })
})
