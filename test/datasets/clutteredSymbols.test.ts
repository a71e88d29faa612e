import assert from 'node:assert/strict'
import { clutteredSymbols, SYMBOL_LABELS, SYMBOL_SIDE } from '../../src/datasets/index.js'

describe('clutteredSymbols', () => {
  it('labels what is there, in the share that was asked for', () => {
    const { train } = clutteredSymbols({ seed: 1, size: 2000, prevalence: 0.3 })
    for (const [label, symbol] of Object.entries(SYMBOL_LABELS) as [keyof typeof SYMBOL_LABELS, string][]) {
      const share = train.filter(({ labels }) => labels.includes(label)).length / train.length
      assert.ok(Math.abs(share - 0.3) < 0.05, `${label}: ${share}`)
      for (const { labels, figures, strength } of train) {
        assert.equal(labels.includes(label), figures.includes(symbol))
        assert.equal(labels.includes(label), strength[label] > 0)
      }
    }
    assert.equal(train[0]!.image.data.length, SYMBOL_SIDE * SYMBOL_SIDE * 3)
    assert.ok(train.every(({ figures }) => figures.length >= 3 && figures.length <= 5))
  })

  it('draws the same for a seed, shares no picture between splits, and refuses what is no share', () => {
    const text = ({ image }: { image: { data: Uint8ClampedArray } }) => Buffer.from(image.data).toString('base64')
    const [one, again, other] = [1, 1, 2].map(seed => clutteredSymbols({ seed, size: 200 }))
    assert.deepEqual(one!.test.map(text), again!.test.map(text)) // prettier-ignore
    const trained = new Set(other!.train.map(text))
    assert.ok(one!.test.every(picture => !trained.has(text(picture))))
    assert.throws(() => clutteredSymbols({ seed: 1, size: 20, prevalence: 2 }), /prevalence is 2, needed a share/)
  })
})
