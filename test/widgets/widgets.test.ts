import assert from 'node:assert/strict'
import { exactAnswer, answerFormat, weighted } from '../../src/rewards/index.js'
import {
  anywidget,
  button,
  checkbox,
  display,
  dropdown,
  newDisplay,
  outputArea,
  slider,
  tabs,
  html,
  weightsPanel,
  Widget,
} from '../../src/widgets/index.js'
import { setNotebook, type Comm, type Notebook } from '../../src/widgets/notebook.js'

type State = Record<string, unknown>

/** A notebook that records what it is told, and plays the browser. */
class FakeNotebook implements Notebook {
  readonly opened: { id: string; state: State; paths: unknown; buffers: readonly Uint8Array[] }[] = []
  readonly sent: { id: string; data: State; buffers: readonly Uint8Array[] }[] = []
  readonly shown: [value: unknown, update: boolean][] = []
  readonly #comms = new Map<string, Comm>()

  show = (value: unknown, { update }: { update: boolean }) => void this.shown.push([value, update])
  bundle = (value: unknown) => Promise.resolve({ 'text/plain': value })
  clearOutput = () => {}
  input = () => Promise.resolve('')

  openComm(_target: string, data: State, { buffers = [] }: { readonly buffers?: readonly Uint8Array[] } = {}): Comm {
    const id = `comm${this.opened.length}`
    this.opened.push({ id, state: data['state'] as State, paths: data['buffer_paths'], buffers })
    const send = (data: State, buffers: readonly Uint8Array[] = []) => void this.sent.push({ id, data, buffers })
    const comm: Comm = { id, onMessage: undefined, onClose: undefined, send, close: () => {} }
    this.#comms.set(id, comm)
    return comm
  }

  receive(id: string, data: State, buffers: readonly Uint8Array[] = []): void {
    this.#comms.get(id)!.onMessage!(data, buffers)
  }
}

describe('widgets', () => {
  let browser: FakeNotebook
  beforeEach(() => setNotebook((browser = new FakeNotebook())))
  after(() => setNotebook(undefined))

  it('tell the browser their model, and follow it', () => {
    const control = slider({ label: 'weight', max: 2, value: 0.5 })
    const { state } = browser.opened.at(-1)!
    assert.equal(state['_model_name'], 'FloatSliderModel')
    assert.match(String(state['style']), /^IPY_MODEL_comm\d+$/)
    const heard: number[] = []
    const stop = control.onChange(value => heard.push(value))
    browser.receive(control.id, { method: 'update', state: { value: 1.5 }, buffer_paths: [] })
    assert.equal(control.value, 1.5)
    control.value = 1
    assert.deepEqual(browser.sent.at(-1)!.data, { method: 'update', state: { value: 1 }, buffer_paths: [] })
    stop()
    control.value = 0
    assert.deepEqual(heard, [1.5, 1])
  })

  it('echo changes to other views, and send all state when asked', () => {
    const control = checkbox({ label: 'on' })
    browser.receive(control.id, { method: 'update', state: { value: true }, buffer_paths: [] })
    assert.equal(browser.sent.at(-1)!.data['method'], 'echo_update')
    browser.receive(control.id, { method: 'request_state' })
    assert.equal((browser.sent.at(-1)!.data['state'] as State)['value'], true)
  })

  it('carry bytes apart, at any depth, both ways', () => {
    const widget = anywidget({ esm: 'export default {}', state: { image: { pixels: [Uint8Array.of(1, 2)] } } })
    const { state, paths, buffers } = browser.opened.at(-1)!
    assert.deepEqual([paths, state['image']], [[['image', 'pixels', 0]], { pixels: [null] }])
    assert.deepEqual([...buffers[0]!], [1, 2])
    const update = { method: 'update', state: { mask: { a: null } }, buffer_paths: [['mask', 'a']] }
    browser.receive(widget.id, update, [Uint8Array.of(7)])
    assert.deepEqual(widget.get('mask'), { a: Uint8Array.of(7) })
  })

  it('choose by text', () => {
    const choice = dropdown({ options: ['a', 'b'] })
    const heard: string[] = []
    choice.onChange(value => heard.push(value))
    browser.receive(choice.id, { method: 'update', state: { index: 1 }, buffer_paths: [] })
    choice.value = 'a'
    assert.deepEqual(heard, ['b', 'a'])
    assert.throws(() => (choice.value = 'c'), /dropdown: value is "c", needed one of options\. Use a, b\./)
  })

  it('hear clicks', () => {
    let clicks = 0
    const widget = button('Stop', () => clicks++)
    browser.receive(widget.id, { method: 'custom', content: { event: 'click' } })
    assert.equal(clicks, 1)
  })

  it('hold others', () => {
    const page = html('text')
    tabs({ first: page })
    const { state } = browser.opened.at(-1)!
    assert.deepEqual([state['children'], state['titles']], [[`IPY_MODEL_${page.id}`], ['first']])
  })

  it('show the last of the contents that come while one is rendering', async () => {
    const area = outputArea()
    await Promise.all([area.show('first'), area.show('skipped'), area.show('last')])
    const outputs = browser.sent.map(({ data }) => (data['state'] as { outputs: { data: unknown }[] }).outputs)
    assert.deepEqual(
      outputs.map(([output]) => output!.data),
      [{ 'text/plain': 'first' }, { 'text/plain': 'last' }],
    )
  })

  it('turn the weights of rewards, which turn them, and redraw', () => {
    const rewards = weighted({ format: [answerFormat(), 0.3], correct: [exactAnswer(), 0.7] })
    const drawn: number[] = []
    weightsPanel(rewards, { chart: weights => drawn.push(weights['format']!) })
    const sliders = browser.opened.filter(({ state }) => state['_model_name'] === 'FloatSliderModel')
    browser.receive(sliders[0]!.id, { method: 'update', state: { value: 0.9 }, buffer_paths: [] })
    assert.deepEqual(rewards.weights, { format: 0.9, correct: 0.7 })
    rewards.setWeights({ correct: 0.1 })
    const moved = browser.sent.filter(({ id }) => id === sliders[1]!.id).at(-1)
    assert.deepEqual(moved!.data['state'], { value: 0.1 })
    assert.deepEqual(drawn, [0.3, 0.9, 0.9])
  })

  it('display and update in place', () => {
    const shown = display('a')
    shown.update('b')
    const later = newDisplay()
    later.update('c')
    later.update('d')
    assert.deepEqual(browser.shown, [
      ['a', false],
      ['b', true],
      ['c', false],
      ['d', true],
    ])
  })

  it('print text outside a notebook, and keep their state', async () => {
    setNotebook(undefined)
    const printed: unknown[] = []
    const { write } = process.stdout
    process.stdout.write = ((text: string) => printed.push(text)) as unknown as typeof write
    try {
      const control = slider({ value: 0.25 })
      control.value = 0.5
      display(control)
      display({ $schema: 'https://vega.github.io/schema/vega-lite/v5.json', title: 'Curves' })
      display({ a: 1 })
      await new Promise(resolve => setImmediate(resolve))
    } finally {
      process.stdout.write = write
    }
    assert.deepEqual(new Set(printed), new Set(['FloatSliderModel: 0.5\n', 'vega-lite chart: Curves\n', '{ a: 1 }\n']))
    assert.ok(new Widget({}).id)
  })
})
