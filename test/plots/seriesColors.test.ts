import assert from 'node:assert/strict'
import { seriesColors } from '../../src/plots/index.js'

const colorOf = (name: string, names: string[], study?: string[]) => {
  const { domain, range } = seriesColors(names, study)
  return range[domain.indexOf(name)]
}

describe('plots/seriesColors', () => {
  it('gives an optimizer its colour in whatever company', () => {
    assert.equal(colorOf('grpo', ['grpo']), colorOf('grpo', ['dpo', 'control', 'grpo']))
    assert.equal(colorOf('GRPO', ['GRPO']), colorOf('grpo', ['grpo']))
  })

  it('keeps the colour of other names within a study, whatever a figure shows', () => {
    const study = ['base', 'grpo', 'ablation', 'control']
    assert.equal(colorOf('control', ['control'], study), colorOf('control', study))
    assert.notEqual(colorOf('control', study), colorOf('ablation', study))
  })

  it('tells nine series apart', () => {
    const names = ['base', 'sft', 'dpo', 'grpo', 'srpo', 'a', 'b', 'c', 'd']
    assert.equal(new Set(seriesColors(names).range).size, 9)
  })

  it('takes names of Object.prototype for names', () => {
    assert.match(colorOf('constructor', ['constructor'])!, /^#/)
  })
})
