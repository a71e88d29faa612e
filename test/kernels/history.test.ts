import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { History } from '../../kernels/history.js'

describe('history', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rewardlab-history-'))
  const path = join(folder, 'history.jsonl')
  after(() => rmSync(folder, { recursive: true }))
  const store = (count: number) =>
    writeFileSync(path, Array.from({ length: count }, (_, i) => `[${i},1,"cell ${i}"]\n`).join(''))
  const lines = () => readFileSync(path, 'utf8').trimEnd().split('\n')

  it('keeps the last 10,000 cells of a file that has grown to twice as many', () => {
    store(20_001)
    const history = new History(path)
    assert.deepEqual(
      [lines().length, lines()[0], lines().at(-1)],
      [10_000, '[10001,1,"cell 10001"]', '[20000,1,"cell 20000"]'],
    )
    history.add(1, 'new')
    assert.equal(lines().at(-1), '[20001,1,"new"]', 'a session of its own')
    assert.equal(history.query({ hist_access_type: 'tail', n: null }).length, 10_001)
  })

  it('leaves a smaller file alone', () => {
    store(20_000)
    new History(path)
    assert.equal(lines().length, 20_000)
  })
})
