import assert from 'node:assert/strict'
import fc from 'fast-check'
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
    assert.deepEqual(flagged('["Nudity", "weapons"]'), labels)
    assert.deepEqual(flagged('{"Nudity": false, "Weapons": true}'), ['Weapons'])
    assert.deepEqual(flagged('```json\n{\n  "labels": ["Nudity"]\n}\n```'), ['Nudity'])
    assert.deepEqual(flagged('Nudity: [no]; Weapons:\nno'), [])
    assert.deepEqual(flagged('1. **Nudity**\n2) Weapons'), labels)
    assert.deepEqual(flagged('non-nudity, weapons-grade, Waffen'), [])
  })

  it('reads labels that hold separators, signs and one another', () => {
    const own = ['hate, harassment', 'knives', 'guns and knives', 'C++ (code)']
    assert.deepEqual(flaggedLabels('Guns and Knives', own), ['guns and knives'])
    assert.deepEqual(flaggedLabels('knives and c++ (code) and hate, harassment', own), ['hate, harassment', 'knives', 'C++ (code)']) // prettier-ignore
  })

  it('takes the last answer that is complete, however tags lie', async () => {
    const texts: [string, number][] = [
      ['<answer>none</answer> no: <answer>Weapons</answer>', 1.1],
      ['<answer>Weapons</answer></answer>', 1.1],
      ['<answer>Weapons</answer> and <answer>Nud', 1.1],
      ['<answer>Nudity <answer>Weapons</answer>', 1.1],
      ['<answer>Weapons</answer> or </answer>', 1.1],
    ]
    for (const [text, expected] of texts) assert.equal(await score(text, ['Weapons']), expected, text)
  })

  it('flags the labels of a list in whatever form it stands', () => {
    const own = ['Nudity', 'Weapons', 'Self-harm', 'hate, harassment']
    const forms: ((on: string[]) => string)[] = [
      on => on.join(', '),
      on => on.map(label => `- ${label}.`).join('\n'),
      on => on.map((label, i) => `(${i + 1}) ${label.toUpperCase()}`).join('; '),
      on => JSON.stringify(on),
      on => JSON.stringify(Object.fromEntries(own.map(label => [label, on.includes(label)])), null, 2),
      on => own.map(label => `${label}: ${on.includes(label) ? 'Yes' : 'no'}`).join('\n'),
    ]
    const subset = fc.shuffledSubarray(own)
    const check = (on: string[], form: (on: string[]) => string) =>
      assert.deepEqual(new Set(flaggedLabels(form(on), own)), new Set(on), form(on))
    fc.assert(fc.property(subset, fc.constantFrom(...forms), check), { seed: 1, numRuns: 300 })
  })

  it('scores any text by whole values, and does not fail', () => {
    const pieces = ['<answer>', '</answer>', 'Nudity', 'weapons', ': ', 'yes', 'no', ',', '"', '[', '{', '\n', 'and', '\u{f0000}', '\\', '\ud800', 'x'] // prettier-ignore
    const text = fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string())).map(parts => parts.join(''))
    const reward = moderation({ labels, truePositive: 8, falseNegative: -16, falsePositive: -2, trueNegative: 1 })
    const possible = new Set([8, -16].flatMap(weapons => [-2, 0, 1].map(nudity => weapons + nudity)))
    const check = async (given: string) => {
      const score = await scoreOf(reward, given, { labels: ['Weapons'] })
      assert.ok(possible.has(score!), `${JSON.stringify(given)}: ${score}`)
    }
    return fc.assert(fc.asyncProperty(text, check), { seed: 1, numRuns: 1000 })
  })

  it('names the row whose labels are no list or hold an unknown one', () => {
    const run = (gold: unknown) => () => moderation({ labels })(batchOf([''], { labels: [gold] }))
    assert.throws(run('Weapons'), /moderation, row 0: labels is "Weapons", needed a list out of Nudity, Weapons/)
    assert.throws(run(['Drugs']), /labels is \["Drugs"\]/)
    assert.throws(() => moderation({ labels: [] }), /labels is empty/)
    assert.throws(() => moderation({ labels: ['a', 'A'] }), /needed each once/)
  })
})
