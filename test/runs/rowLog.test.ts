import assert from 'node:assert/strict'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openRowLog, readRowLog } from '../../src/runs/rowLog.js'
import { temporaryFolder } from './temporary.js'

describe('rowLog', () => {
  const dir = temporaryFolder()
  const path = (): string => join(dir(), 'metrics.jsonl')

  it('reads the rows before a cut, wherever the file was cut', () => {
    const rows = [{ step: 1, text: 'é\n' }, { step: 2, loss: -0.5 }, { step: 3 }]
    const log = openRowLog(path())
    log.append(rows.slice(0, 1))
    log.append(rows.slice(1))
    log.close()
    const bytes = readFileSync(path())
    for (let cut = 0; cut <= bytes.length; cut++) {
      const kept = bytes.subarray(0, cut)
      writeFileSync(path(), kept)
      const whole = kept.toString('latin1').split('\n').length - 1
      const { rows: read, note } = readRowLog(path())
      assert.deepEqual(read, rows.slice(0, whole))
      assert.equal(note !== undefined, cut > 0 && bytes[cut - 1] !== 0x0a)
    }
  })

  it('cuts off a torn line before it goes on', () => {
    writeFileSync(path(), '{"step":1}\n{"step":2,"lo')
    assert.match(readRowLog(path()).note!, /metrics\.jsonl: the last line is torn and was left out/)
    const log = openRowLog(path())
    log.append([{ step: 2 }])
    log.close()
    assert.equal(readFileSync(path(), 'utf8'), '{"step":1}\n{"step":2}\n')
  })

  it('names a line that is damaged before the end', () => {
    writeFileSync(path(), '{"step":1}\n{"st\n')
    appendFileSync(path(), '{"step":3}\n')
    assert.throws(() => readRowLog(path()), /metrics\.jsonl, line 2: not JSON/)
  })
})
