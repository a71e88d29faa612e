import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { readJsonl, writeJsonl } from '../../src/datasets/index.js'

describe('readJsonl, writeJsonl', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'rewardlab-'))))
  after(() => rmSync(dir, { recursive: true }))

  const file = (text: string | Buffer): string => {
    const path = join(dir, 'rows.jsonl')
    writeFileSync(path, text)
    return path
  }

  it('reads what it wrote, plain and compressed', () => {
    const rows = [{ a: 1, text: 'zwei\nlines\u2028é' }, { b: [null, true] }]
    const path = join(dir, 'deep', 'rows.jsonl')
    writeJsonl(path, rows)
    assert.deepEqual(readJsonl(path), rows)
    assert.deepEqual(readdirSync(join(dir, 'deep')), ['rows.jsonl'])
    assert.deepEqual(readJsonl(file(gzipSync('\uFEFF{"a":1}\r\n\r\n{"a":2}'))), [{ a: 1 }, { a: 2 }])
  })

  it('names the line that is no row', () => {
    assert.throws(() => readJsonl(file('{"a":1}\n\n{"a":')), /rows\.jsonl, line 3: not JSON/)
    assert.throws(() => readJsonl(file('[1]\n')), /line 1: got an array, needed a JSON object/)
    assert.throws(() => readJsonl(file('null')), /line 1: got null/)
    assert.throws(() => readJsonl(join(dir, 'absent.jsonl')), /absent\.jsonl: cannot be read \(ENOENT/)
  })
})
