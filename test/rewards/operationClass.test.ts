import assert from 'node:assert/strict'
import { arithmeticProblems } from '../../src/datasets/index.js'
import { answerFormat, exactAnswer, namedOperation, operationClass } from '../../src/rewards/index.js'
import { batchOf } from './samples.js'

describe('operationClass', () => {
  it('reads the one operation that a reply names', () => {
    assert.equal(namedOperation('add: 7+5=12\n<answer>12</answer>'), 'add')
    assert.equal(namedOperation('Let me think.\n  sub: 7-5=2'), 'sub')
    assert.equal(namedOperation('add: 1+1=2\nadd: 2+2=4'), 'add')
    assert.equal(namedOperation('add: 1+1=2\nsub: 2-2=0'), null)
    assert.equal(namedOperation('we add: 1+1'), null)
    assert.equal(namedOperation('addition'), null)
    assert.equal(namedOperation(''), null)
  })

  it('scores 1 for the right class, null without a label', async () => {
    const scores = await operationClass()(
      batchOf(['add: 1+1=2', 'add: 1+1=2', 'x', 'x'], { operation: ['add', 'sub', 'add', null] }),
    )
    assert.deepEqual(scores, [1, 0, 0, null])
  })

  it('gives full marks, with the other rewards, to every generated reply', async () => {
    const rows = arithmeticProblems({ seed: 1, size: 200 }).train
    const columns = { answer: rows.map(row => row.answer), operation: rows.map(row => row.operation) }
    const batch = batchOf(
      rows.map(row => row.completion),
      columns,
    )
    assert.ok((await operationClass()(batch)).every(score => score === 1))
    assert.ok((await answerFormat()(batch)).every(score => score === 1))
    assert.ok((await exactAnswer()(batch)).every(score => score === 2))
  })
})
