import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/xla/index.js'
import { Lab, type Cell } from './lab.js'
import { slides } from './slides.js'

/** Cells of the comparison of word problems that the test runs: data, base policy, rewards with their panel, evaluation, GRPO. */
const FIRST_PART = ['cell-01', 'cell-03', 'cell-05', 'cell-07', 'cell-07a', 'cell-07b', 'cell-09', 'cell-11', 'cell-13']

/** What follows: widgets of every kind, a panel whose chart tells the weight, a run too long to wait for, its continuation, and a trivial cell. */
const OWN = [
  `import * as widgets from 'rewardlab/widgets'
const { anywidget, button, checkbox, dropdown, hbox, html, outputArea, progressBar, slider, tabs, textField, vbox } = widgets
const told = html('nothing yet')
const choice = dropdown({ label: 'dropdown', options: ['one', 'two'] })
choice.onChange(value => (told.value = 'chose ' + value))
const esm = \`export default { render({ model, el }) { el.textContent = 'own view of ' + model.get('n') } }\`
const area = outputArea()
await area.show('text in an area')
tabs({
  controls: vbox(
    slider({ label: 'slider', value: 0.5 }),
    checkbox({ label: 'checkbox', value: true }),
    choice,
    textField({ label: 'text', value: 'some' }),
    progressBar({ label: 'progress', value: 0.4 }),
    hbox(button('button', () => (told.value = 'pressed')), told),
  ),
  own: vbox(anywidget({ esm, state: { n: 7 } }), area),
})`,
  `import type { Sample } from 'rewardlab/plots'
const chart = (group: readonly Sample[], weights: Readonly<Record<string, number>>) =>
  plots.groupRanking(group, weights, { title: 'weight ' + weights.edit!.toFixed(2) })
weightsPanel(knobs, { max: 2, chart })`,
  `display(weightsPanel(knobs, { max: 2, chart }))
const pupil = base.fork()
const long = srpo(pupil, data.train, knobs, { ...common, max_steps: 500, beta: 0, seed: 1, run_name: 'long' })
await long.live(['reward'])
'after the run'`,
  "await long.live(['reward'])",
  '6 * 7',
]

function cells(): Cell[] {
  const path = join(packageRoot(), 'notebooks/grpo_dpo_srpo_comparison.ipynb')
  const { cells } = JSON.parse(readFileSync(path, 'utf8')) as { cells: Cell[] }
  const chosen = FIRST_PART.map(id => cells.find(cell => cell.id === id)!)
  const own = OWN.map((source, i) => ({
    id: `own-${i}`,
    cell_type: 'code' as const,
    source,
    metadata: {},
  }))
  return [...chosen, ...own].map(cell =>
    cell.cell_type === 'code' ? { ...cell, outputs: [], execution_count: null } : cell,
  )
}

describe('a comparison notebook in a browser', function () {
  this.timeout(300_000)
  let lab: Lab
  const [panel, study, kinds, ranked, long, again, last] = [5, 8, 9, 10, 11, 12, 13]
  before(async () => (lab = await Lab.open(cells())))
  after(() => lab?.close())
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await lab?.screenshot('failed')
  })

  it('runs its first part, which leaves charts and samples', async () => {
    await lab.cell(long).click()
    await lab.menu('Run', 'Run All Above Selected Cell')
    await lab.shows(study, 'done at step 3/3')
    await lab.shows(study, 'best of 12')
    await lab.cell(study).locator('.vega-embed').waitFor()
    await lab.idle()
    await lab.screenshot('1-first-part', lab.cell(study))
  })

  it('shows widgets of every kind, and hears them', async () => {
    await lab.shows(kinds, 'nothing yet')
    await lab.cell(kinds).getByRole('button', { name: 'button' }).click()
    await lab.shows(kinds, 'pressed')
    await lab.cell(kinds).locator('.widget-dropdown select').selectOption('two')
    await lab.shows(kinds, 'chose two')
    await lab.screenshot('2-widgets', lab.cell(kinds))
    await lab.cell(kinds).locator('.lm-TabBar-tab').nth(1).click()
    await lab.shows(kinds, 'own view of 7')
    await lab.shows(kinds, 'text in an area')
  })

  it('ranks the group anew when a slider moves, within 200 ms', async () => {
    const { median, weight } = await slides(lab.page, lab.cell(ranked), 200)
    await lab.screenshot('3-slider')
    console.log(`      slider to chart, idle: ${median} ms`)
    assert.ok(median < 200)
    assert.notEqual(weight, '1.00')
  })

  it('does so within 500 ms while a run trains', async () => {
    await lab.run(long)
    await lab.shows(long, /step [2-9]\/500/)
    const { median } = await slides(lab.page, lab.cell(long), 500)
    await lab.screenshot('4-training', lab.cell(long))
    console.log(`      slider to chart, training: ${median} ms`)
    assert.ok(median < 500)
  })

  it('stops the run at its button, and goes on to the next line', async () => {
    await lab.cell(long).getByRole('button', { name: 'Stop' }).click()
    await lab.shows(long, /stopped at step \d+\/500/)
    await lab.shows(long, 'after the run')
    await lab.screenshot('5-stopped', lab.cell(long))
  })

  it('frees the cell of a run at an interrupt, and the run ends after its step', async () => {
    await lab.run(again)
    await lab.shows(again, /steps\/s · .* left/)
    const began = performance.now()
    await lab.page.locator('[data-command="notebook:interrupt-kernel"]').click()
    await lab.shows(again, 'KeyboardInterrupt')
    console.log(`      interrupt to its message: ${Math.round(performance.now() - began)} ms`)
    await lab.shows(again, /stopped at step \d+\/500/)
  })

  it('shows the panel when the saved notebook is opened again', async () => {
    await lab.save()
    assert.match(
      JSON.stringify(lab.saved().cells[long]),
      /weights: edit .* → /,
      'the curve marks the change of the weight',
    )
    await lab.page.reload()
    await lab.cell(panel).locator('.widget-slider').first().waitFor()
    await lab.cell(panel).locator('.widget-image').waitFor()
    await lab.screenshot('6-opened-again', lab.cell(panel))
  })

  it('restarts the kernel, which then runs cells', async () => {
    await lab.menu('Kernel', 'Restart Kernel…')
    await lab.page.locator('.jp-Dialog .jp-mod-accept').click()
    await lab.run(last)
    await lab.shows(last, '42')
    await lab.screenshot('7-restarted', lab.cell(last))
  })
})
