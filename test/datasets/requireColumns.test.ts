import assert from 'node:assert/strict'
import { requireColumns } from '../../src/datasets/index.js'

describe('requireColumns', () => {
  it('names the first row that lacks a column, and an empty data set', () => {
    requireColumns([{ prompt: '', answer: null }], ['prompt', 'answer'], 'GRPO')
    assert.throws(() => requireColumns([], ['prompt'], 'GRPO'), /GRPO: the data set is empty, needed rows with prompt/)
    assert.throws(
      () => requireColumns([{ prompt: '' }, { text: '' }], ['prompt'], 'GRPO'),
      /GRPO: row 1 lacks prompt \(got text\)/,
    )
  })
})
