import assert from 'node:assert/strict'
import { confusionMatrix, pairedDifferences, proxyAgainstHeldOut, rewardDistribution } from '../../src/plots/index.js'

describe('plots/proxyAgainstHeldOut', () => {
  it('sets each evaluation against the mean reward since the one before', () => {
    const rows = [{ step: 1, reward: 1 }, { step: 2, reward: 3, held: 0.5 }, { step: 3, reward: 7 }, { step: 4, reward: 9, held: 0.6 }] // prettier-ignore
    const chart = proxyAgainstHeldOut({ name: 'grpo', rows }, { heldOut: 'held' })
    assert.deepEqual((chart.layer as { data: unknown }[])[1]?.data, {
      values: [
        { series: 'grpo', step: 2, proxy: 2, heldOut: 0.5 },
        { series: 'grpo', step: 4, proxy: 8, heldOut: 0.6 },
      ],
    })
  })
})

describe('plots/rewardDistribution', () => {
  it('counts shares of each value, also of those a series lacks', () => {
    const rows = [0, 0, 0, 1].map(reward => ({ name: 'base', reward })).concat({ name: 'grpo', reward: 1 })
    assert.deepEqual(rewardDistribution(rows).data, {
      values: [
        { series: 'base', value: 0, share: 0.75 },
        { series: 'base', value: 1, share: 0.25 },
        { series: 'grpo', value: 0, share: 0 },
        { series: 'grpo', value: 1, share: 1 },
      ],
    })
  })

  it('bins many values, the largest in the last bin', () => {
    const rows = Array.from({ length: 21 }, (_, i) => ({ name: 'a', reward: i }))
    const { values } = rewardDistribution(rows, { bins: 2 }).data as { values: { value: number; share: number }[] }
    assert.deepEqual(
      values.map(v => [v.value, v.share]),
      [
        [0, 0],
        [0, 10 / 21],
        [10, 11 / 21],
        [20, 0],
      ],
    )
  })

  it('refuses rows without the value or the series', () => {
    assert.throws(() => rewardDistribution([{ name: 'a', score: 1 }]), /"reward"; found name, score/)
    assert.throws(() => rewardDistribution([{ reward: 1 }]), /a row has no text or number "name", only reward/)
  })
})

describe('plots/confusionMatrix', () => {
  it('shades by the share of the true class, also of an empty one', () => {
    const { values } = confusionMatrix({ labels: ['a', 'b'], counts: [[3, 1], [0, 0]] }).data as { values: { share: number }[] } // prettier-ignore
    assert.deepEqual(
      values.map(v => v.share),
      [0.75, 0.25, 0, 0],
    )
  })

  it('refuses counts that are not square', () => {
    assert.throws(() => confusionMatrix({ labels: ['a', 'b'], counts: [[1, 2]] }), /1 rows of 2 counts for 2 labels/)
  })
})

describe('plots/pairedDifferences', () => {
  it('refuses a row without an interval', () => {
    assert.throws(() => pairedDifferences([{ name: 'a', mean: 1 }]), /mean, low and high; it has mean, name/)
  })
})
