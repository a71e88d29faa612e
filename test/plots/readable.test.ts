import assert from 'node:assert/strict'
import { renderSvg, themed, type Theme } from '../../src/plots/index.js'
import { figures } from './figures.js'
import { hardCases } from './hardCases.js'
import { faults, textBoxes } from './textBoxes.js'

describe('plots: every text is whole and by itself', () => {
  it('as far as this test can tell', async () => {
    const data = { values: [{ a: 'W'.repeat(40) }, { a: 'i' }] }
    const crowded = { data, mark: 'bar', encoding: { y: { field: 'a', type: 'nominal', title: 'a & b', axis: { labelLimit: 0, titleX: -20 } } } } // prettier-ignore
    const svg = await renderSvg({ ...crowded, autosize: 'none', padding: 0, width: 100, height: 40 })
    assert.deepEqual(
      textBoxes(svg).map(box => box.text),
      ['W'.repeat(40), 'i', 'a & b'],
    )
    assert.deepEqual(faults(svg), [
      `"${'W'.repeat(40)}" leaves the page`,
      '"i" leaves the page',
      '"a & b" leaves the page',
      `"${'W'.repeat(40)}" over "a & b"`,
    ])
  })

  for (const theme of ['screen', 'paper'] satisfies Theme[])
    for (const [name, draw] of Object.entries({ ...figures, ...hardCases }))
      it(`${name}, ${theme} theme`, async () => {
        assert.deepEqual(faults(await renderSvg(themed(draw(), theme))), [])
      })
})
