import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { gsm8k } from '../../src/datasets/index.js'

describe('gsm8k', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'rewardlab-'))))
  after(() => rmSync(dir, { recursive: true }))

  const file = (text: string | Buffer): string => {
    const path = join(dir, 'rows.jsonl')
    writeFileSync(path, text)
    return path
  }
  const record = {
    question: 'Natalia sold 48 clips in April and half as many in May. How many in all?',
    answer: 'May: 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>72.\n#### 72',
  }

  it('reads a published record, and adds conversation and reply', () => {
    const [row] = gsm8k(file(JSON.stringify(record)))
    assert.equal(row!.answer, record.answer)
    assert.deepEqual(row!.prompt.at(-1), { role: 'user', content: record.question })
    assert.equal(row!.prompt[0]!.role, 'system')
    assert.equal(row!.completion, 'May: 48/2 = 24 clips.\nIn all 48+24 = 72.\n<answer>72</answer>')
    assert.equal(gsm8k(file(gzipSync(JSON.stringify(record))), { instruction: '' })[0]!.prompt.length, 1)
  })

  it('reads negative, decimal and grouped numbers', () => {
    const completion = (number: string): string =>
      gsm8k(file(JSON.stringify({ ...record, answer: `#### ${number}` })))[0]!.completion
    assert.equal(completion('-5'), '<answer>-5</answer>')
    assert.equal(completion('1,250'), '<answer>1250</answer>')
    assert.equal(completion('.75'), '<answer>.75</answer>')
  })

  it('names line and field of a malformed record', () => {
    const lines = (second: object): string => file(`${JSON.stringify(record)}\n${JSON.stringify(second)}\n`)
    assert.throws(() => gsm8k(lines({ question: 'q' })), /line 2: field "answer" is missing \(got question\)/)
    assert.throws(() => gsm8k(lines({ ...record, question: 7 })), /line 2: field "question" is 7, needed a text/)
    assert.throws(() => gsm8k(lines({ ...record, answer: 'so 72' })), /line 2: field "answer" ends in "so 72"/)
    assert.throws(() => gsm8k(lines({ ...record, answer: '#### x' })), /needed "#### NUMBER"/)
    assert.throws(() => gsm8k(file('\n')), /is empty/)
  })
})
