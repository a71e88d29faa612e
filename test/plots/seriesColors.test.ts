import assert from 'node:assert/strict'
import { seriesColors } from '../../src/plots/index.js'
import { blindness, ciede2000, lab, lightness, linear, simulated, type Lab } from './colorVision.js'

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

  it('keeps the order of the names', () => {
    assert.deepEqual(seriesColors(['grpo', 'base', 'dpo', 'grpo']).domain, ['grpo', 'base', 'dpo'])
  })

  it('gives no other name the colour of an optimizer that is there', () => {
    const names = ['dpo', 'grpo', 'srpo', 'sft', ...'abcdefgh']
    assert.equal(new Set(seriesColors(names).range).size, 12)
  })

  it('takes names of Object.prototype for names', () => {
    assert.match(colorOf('constructor', ['constructor'])!, /^#/)
  })
})

describe('plots/seriesColors: twelve series and the base', () => {
  const { domain, range } = seriesColors(['base', 'dpo', 'grpo', 'sft', 'srpo', ...'abcdefgh'])
  for (const [sight, least] of Object.entries({ normal: 12, protanopia: 12, deuteranopia: 12, tritanopia: 9.5 }))
    it(`are told apart with ${sight}`, () => {
      const seen = range.map(color => lab(simulated(linear(color), sight as keyof typeof blindness)))
      const close = domain.flatMap((name, i) =>
        domain.slice(i + 1).flatMap((other, k) => {
          const difference = ciede2000(seen[i]!, seen[i + 1 + k]!)
          return difference < least ? [`${name} and ${other}: ${difference.toFixed(1)}`] : []
        }),
      )
      assert.deepEqual(close, [])
    })

  it('stand out from white, whatever their lightness', () => {
    const contrast = (color: string) => 1.05 / (lightness(linear(color)) + 0.05) // WCAG 2
    assert.ok(Math.min(...range.map(contrast)) >= 2.2)
  })

  it('are measured as others measure', () => {
    // Sharma, Wu & Dalal 2005, pairs 1, 7, 17 and 25 of their table
    const pairs: [one: Lab, other: Lab, difference: number][] = [
      [[50, 2.6772, -79.7751], [50, 0, -82.7485], 2.0425],
      [[50, 0, 0], [50, -1, 2], 2.3669],
      [[50, 2.5, 0], [73, 25, -18], 27.1492],
      [[60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644],
    ]
    for (const [one, other, difference] of pairs) assert.ok(Math.abs(ciede2000(one, other) - difference) < 1e-4)
    const red = lab(linear('#FF0000')) // 53.24, 80.09, 67.20
    assert.ok(Math.hypot(red[0] - 53.24, red[1] - 80.09, red[2] - 67.2) < 0.02)
  })
})
