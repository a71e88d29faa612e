import assert from 'node:assert/strict'
import { setImmediate as tick } from 'node:timers/promises'
import { ranked, type Sample } from '../../src/plots/index.js'
import { weighted, type Weights } from '../../src/rewards/index.js'
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
  picture,
} from '../../src/widgets/index.js'
import { displaySymbol } from '../../src/widgets/display.js'
import { setNotebook } from '../../src/widgets/notebook.js'
import { FakeNotebook, type State } from './fakeNotebook.js'

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
    const [output] = browser.widgets('Output')
    const shown = [
      browser.opened.find(({ id }) => id === output)!.state['outputs'],
      ...browser.values(output!, 'outputs'),
    ]
    assert.deepEqual(
      shown.map(outputs => (outputs as { data: unknown }[])[0]!.data),
      [{ 'text/plain': 'first' }, { 'text/plain': 'last' }],
    )
  })

  it('show charts as pictures, which change in place, among other outputs', async () => {
    browser.bundle = value => Promise.resolve(value === 'text' ? { 'text/plain': value } : { 'image/svg+xml': value })
    const area = outputArea()
    await area.show('<svg>1</svg>', 'text')
    const [picture] = area.get('children') as Widget[]
    assert.equal(browser.opened.find(({ id }) => id === picture!.id)!.state['_model_name'], 'ImageModel')
    await area.show('<svg>2</svg>', 'text')
    assert.equal((area.get('children') as Widget[])[0], picture)
    assert.equal(String(browser.sent.findLast(({ id }) => id === picture!.id)!.buffers[0]), '<svg>2</svg>')
    await area.show('text')
    assert.deepEqual(browser.closed, [picture!.id, ...browser.closed.slice(1)])
    assert.equal((area.get('children') as Widget[]).length, 1)
  })

  it('turn the weights of rewards, which turn them, and rank the last group anew', async () => {
    const rewards = weighted({ format: [() => [1, 0], 0.3], correct: [() => [0, 1], 0.625] })
    const drawn: [string, number][] = []
    const chart = (group: readonly Sample[], weights: Weights) =>
      drawn.push([ranked(group, weights)[0]!.completion, weights['format']!])
    weightsPanel(rewards, { chart })
    await tick()
    assert.deepEqual(drawn, [], 'nothing was scored yet')
    await rewards.score({ prompts: ['2 + 2', '2 + 2'], completions: ['tidy', 'right'] })
    const [slider] = browser.widgets('FloatSlider')
    const { state } = browser.opened.find(({ id }) => id === slider)!
    assert.deepEqual([state['step'], state['readout_format']], [0.001, '.3f'], 'as fine as the weights')
    browser.receive(slider!, { method: 'update', state: { value: 0.9 }, buffer_paths: [] })
    assert.deepEqual(rewards.weights, { format: 0.9, correct: 0.625 })
    rewards.setWeights({ format: 0.1 })
    assert.deepEqual(browser.values(slider!, 'value'), [0.9, 0.1], 'the echo to other views, and our own change')
    await tick()
    assert.deepEqual(drawn, [
      ['right', 0.3],
      ['tidy', 0.9],
      ['right', 0.1],
    ])
  })

  it('are text where there are no widgets: the weights of a panel, not its chart', async () => {
    browser.bundle = () => Promise.resolve({ 'image/svg+xml': '<svg></svg>' })
    const rewards = weighted({ format: [() => [1, 0], 0.3], correct: [() => [0, 1], 0.7] })
    await rewards.score({ prompts: ['2 + 2', '2 + 2'], completions: ['tidy', 'right'] })
    const text = async (widget: Widget) => (await widget[displaySymbol]())['text/plain']
    assert.equal(await text(weightsPanel(rewards)), 'format: 0.3\ncorrect: 0.7')
    assert.equal(await text(picture('<svg></svg>')), 'ImageModel')
  })

  it('display and update in place', () => {
    const shown = display('a')
    shown.update('b')
    const later = newDisplay()
    later.update('c')
    later.update('d')
    assert.deepEqual(
      browser.shown.map(({ value, update }) => [value, update]),
      [
        ['a', false],
        ['b', true],
        ['c', false],
        ['d', true],
      ],
    )
  })

  it('print text outside a notebook, and keep their state', async () => {
    setNotebook(undefined)
    const printed: unknown[] = []
    const { write } = process.stdout
    process.stdout.write = ((text: string) => printed.push(text)) as unknown as typeof write
    try {
      const control = slider({ label: 'weight', value: 0.25 })
      control.value = 0.5
      display(control)
      display({ $schema: 'https://vega.github.io/schema/vega-lite/v5.json', title: 'Curves' })
      display({ a: 1 })
      await new Promise(resolve => setImmediate(resolve))
    } finally {
      process.stdout.write = write
    }
    assert.deepEqual(new Set(printed), new Set(['weight: 0.5\n', 'vega-lite chart: Curves\n', '{ a: 1 }\n']))
    assert.ok(new Widget({}).id)
  })
})
