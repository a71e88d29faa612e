import assert from 'node:assert/strict'
import { textHeuristic } from '../../src/rewards/index.js'
import { batchOf, scoreOf } from './samples.js'

describe('textHeuristic', () => {
  const near = async (text: string, expected: number): Promise<void> => {
    const score = await scoreOf(textHeuristic({ fullLength: 10 }), text)
    assert.ok(Math.abs(score! - expected) < 1e-12, `${score}, not ${expected}`)
  }

  it('adds length, reasoning and coherence, each up to its cap', async () => {
    await near('', 0)
    await near('apples', 0.05)
    await near('We have five apples.', 0.5 * 0.4 + 0.2)
    await near('We have 3.5 apples because I cut one.', 0.5 * 0.9 + 0.1 + 0.2) // 3 and 5 count as two words
    await near('because because', 0.1 + 0.1)
    await near('because, therefore, thus, hence', 0.2 + 0.3)
    await near('Two apples remain here. and then nothing', 0.5 * 0.7 + 0.1 + 0.1)
    await near('Word and word again, '.repeat(50) + 'since thus hence so.', 1)
  })

  it('does not see a reasoning word inside another', async () => near('sofa authenticity', 0.1))

  it('refuses a picture', () => {
    const picture = { width: 1, height: 1, data: new Uint8ClampedArray(3) }
    assert.throws(() => textHeuristic()(batchOf([picture])), /textHeuristic, row 0: the completion is a picture/)
  })

  it('refuses a length that is no number of words', () => {
    assert.throws(() => textHeuristic({ fullLength: 0 }), /fullLength is 0/)
  })
})
