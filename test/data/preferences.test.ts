import assert from 'node:assert/strict'
import { join } from 'node:path'
import { preferenceRows, readRows } from '../../src/datasets/index.js'
import { packageRoot } from '../../src/xla/index.js'

describe('data/preferences', () => {
  it('french.jsonl holds pairs in TRL’s columns, each question once', async () => {
    const rows = preferenceRows(await readRows(join(packageRoot(), 'data/preferences/french.jsonl')))
    assert.equal(rows.length, 60)
    assert.equal(new Set(rows.map(row => JSON.stringify(row.prompt))).size, rows.length)
    for (const { prompt, chosen, rejected } of rows)
      assert.deepEqual(
        [prompt, chosen, rejected].map(part => typeof part === 'object' && part.map(({ role }) => role)),
        [['system', 'user'], ['assistant'], ['assistant']],
      )
  })
})
