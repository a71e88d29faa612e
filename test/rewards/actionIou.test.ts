import assert from 'node:assert/strict'
import { actionIou, actions } from '../../src/rewards/index.js'
import { batchOf, scoreOf } from './samples.js'

describe('actionIou', () => {
  const score = (text: string, answer: unknown): Promise<unknown> => scoreOf(actionIou(), text, { answer })
  const gold = '<answer>(1) Open the door (2) Sit down</answer>'

  it('is 1 for the same answer and the share of common actions otherwise', async () => {
    assert.equal(await score(`<think>…</think> ${gold}`, gold), 1)
    assert.equal(await score('<answer>(1) open  the door. (2) SIT DOWN</answer>', gold), 1)
    assert.equal(await score('<answer>(1) open the door</answer>', gold), 1 / 2)
    assert.equal(await score('<answer>(1) open the door (2) jump</answer>', gold), 1 / 3)
    assert.equal(await score('<answer>(1) jump</answer>', gold), 0)
    assert.equal(await score('<answer>open the door; sit down; sit down</answer>', '(1) Open the door (2) Sit down'), 1)
  })

  it('survives broken output', async () => {
    for (const text of [
      '',
      '(1) Open the door (2) Sit down',
      '<answer>',
      '</answer><answer>',
      '<answer></answer>',
      '<answer>(1)(2)</answer>',
    ])
      assert.equal(await score(text, gold), 0, text)
  })

  it('is symmetric in its sets', async () => {
    const [a, b] = ['(1) a (2) b (3) c', '(1) c (2) d']
    assert.equal(await score(`<answer>${a}</answer>`, b), await score(`<answer>${b}</answer>`, a))
  })

  it('names the row whose gold answer has no action', () => {
    assert.throws(() => actionIou()(batchOf(['', ''], { answer: [gold, ' '] })), /actionIou, row 1: answer is " "/)
  })

  it('splits numbered and plain lists', () => {
    assert.deepEqual(actions('(1) a, then b (12) c'), ['a, then b', 'c'])
    assert.deepEqual(actions('a\nb, c; d.'), ['a', 'b', 'c', 'd'])
  })
})
