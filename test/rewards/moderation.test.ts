import assert from 'node:assert/strict'
import { flaggedLabels, moderation } from '../../src/rewards/index.js'
import { batchOf, scoreOf } from './samples.js'

describe('moderation', () => {
  const labels = ['Nudity', 'Weapons']
  const score = (text: string, gold: unknown): Promise<unknown> =>
    scoreOf(moderation({ labels }), text, { labels: gold })

  it('adds up true and false positives and negatives', async () => {
    assert.equal(await score('<answer>Nudity, Weapons</answer>', ['Nudity', 'Weapons']), 2)
    assert.equal(await score('<answer>Weapons</answer>', ['Weapons']), 1.1)
    assert.equal(await score('<answer>none</answer>', ['Weapons']), -0.9)
    assert.equal(await score('<answer>Weapons</answer>', []), -0.1)
    assert.equal(await score('<answer>Nudity</answer>', ['Weapons']), -1.2)
    assert.equal(await score('<answer>none</answer>', []), 0.2)
  })

  it('takes every value from its options', async () => {
    const reward = moderation({ labels, truePositive: 2, falseNegative: -4, falsePositive: -0.5, trueNegative: 0 })
    assert.equal(await scoreOf(reward, '<answer>Nudity</answer>', { labels: ['Weapons'] }), -4.5)
    assert.equal(await scoreOf(reward, '<answer>Weapons</answer>', { labels: ['Weapons'] }), 2)
  })

  it('survives broken output, which earns nothing', async () => {
    for (const text of ['', 'Weapons', '<answer>Weapons', '</answer>']) {
      assert.equal(await score(text, []), 0, text)
      assert.equal(await score(text, ['Weapons']), -1, text)
    }
    assert.equal(await score('<answer></answer>', []), 0.2)
  })

  it('reads lists, and labels with a verdict', () => {
    const flagged = (answer: string): string[] => flaggedLabels(answer, labels)
    assert.deepEqual(flagged('weapons and NUDITY.'), ['Nudity', 'Weapons'])
    assert.deepEqual(flagged('Nudity: no; Weapons: yes'), ['Weapons'])
    assert.deepEqual(flagged('no weapons'), [])
    assert.deepEqual(flagged('weaponsmith'), [])
  })

  it('names the row whose labels are no list or hold an unknown one', () => {
    const run = (gold: unknown) => () => moderation({ labels })(batchOf([''], { labels: [gold] }))
    assert.throws(run('Weapons'), /moderation, row 0: labels is "Weapons", needed a list out of Nudity, Weapons/)
    assert.throws(run(['Drugs']), /labels is \["Drugs"\]/)
    assert.throws(() => moderation({ labels: [] }), /labels is empty/)
  })
})
