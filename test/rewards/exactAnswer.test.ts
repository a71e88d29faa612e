import assert from 'node:assert/strict'
import { answerFormat, exactAnswer } from '../../src/rewards/index.js'
import { batchOf, scoreOf } from './samples.js'

describe('exactAnswer', () => {
  const score = (text: string, answer: unknown): Promise<unknown> => scoreOf(exactAnswer(), text, { answer })

  it('compares the last tagged number with the gold answer', async () => {
    assert.equal(await score('<answer>12</answer>', 'working\n#### 12'), 2)
    assert.equal(await score('<answer>11</answer>\n<answer>12</answer>', '12'), 2)
    assert.equal(await score('<answer>12</answer>\n<answer>11</answer>', '12'), 0)
    assert.equal(await score('<answer>12</answer> and more', 12), 2)
    assert.equal(await score('The answer is 12.', 12), 0)
    assert.equal(await score('<answer>12', 12), 0)
    assert.equal(await score('', 12), 0)
  })

  it('compares by value, without rounding', async () => {
    assert.equal(await score('<answer>$1,250.00</answer>', '#### 1250'), 2)
    assert.equal(await score('<answer>.5</answer>', 0.5), 2)
    assert.equal(await score('<answer>-0</answer>', 0), 2)
    assert.equal(await score('<answer>9007199254740993</answer>', '9007199254740992'), 0)
  })

  it('gives totals 0, 1, 2 and 3 with answerFormat', async () => {
    const replies = ['no idea', '<answer>5</answer>', 'it is <answer>12</answer>', '<answer>12</answer>']
    const totals = replies.map(
      async text => (await scoreOf(answerFormat(), text))! + (await scoreOf(exactAnswer(), text, { answer: 12 }))!,
    )
    assert.deepEqual(await Promise.all(totals), [0, 1, 2, 3])
  })

  it('takes another score, messages, and rows without a gold answer', async () => {
    assert.equal(await scoreOf(exactAnswer({ score: 1 }), '<answer>12</answer>', { answer: 12 }), 1)
    assert.equal(await scoreOf(exactAnswer(), [{ role: 'assistant', content: '<answer>1</answer>' }], { answer: 1 }), 2)
    assert.equal(await score('<answer>12</answer>', null), null)
  })

  it('names a missing column, a short one, and the row whose gold answer is no number', () => {
    const reward = exactAnswer()
    assert.throws(() => reward(batchOf(['a'])), /exactAnswer: column "answer" is missing \(got prompts, completions\)/)
    assert.throws(() => reward(batchOf(['a', 'b'], { answer: [1] })), /column "answer" has 1 values for 2 completions/)
    assert.throws(
      () => reward(batchOf(['a', 'b'], { answer: ['#### 1', 'twelve'] })),
      /exactAnswer, row 1: answer is "twelve", needed a number/,
    )
  })
})
