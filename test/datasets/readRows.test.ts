import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { readRows, streamRows } from '../../src/datasets/index.js'
import { fixture } from '../models/fixture.js'

describe('readRows', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'rewardlab-'))))
  after(() => rmSync(dir, { recursive: true }))
  const file = (name: string, content: string | Buffer): string => {
    const path = join(dir, name)
    writeFileSync(path, content)
    return path
  }

  const turn = (role: string, content: string) => ({ role, content })
  const stored = [0, 1, 2].map(i => ({
    id: i,
    score: i / 2,
    prompt: [turn('system', 'Sois bref.'), turn('user', `Combien font ${i} + ${i} ?`)],
    chosen: [turn('assistant', `${2 * i}. Voilà !`)],
    rejected: [turn('assistant', 'Je ne sais pas.')],
    tags: i < 2 ? ['calcul', 'français'].slice(0, i + 1) : null,
  }))
  for (const name of ['snappy.parquet', 'zstd.parquet', 'stream.arrow'])
    it(`reads ${name} as pyarrow wrote it`, async () => {
      assert.deepEqual(JSON.parse(JSON.stringify(await readRows(fixture(`rows/${name}`)))), stored)
    })

  const rows = [
    { prompt: 'a, "b"\nc', completion: 'é' },
    { prompt: '1', completion: '' },
  ]
  const csv = 'prompt,completion\n"a, ""b""\nc",é\n1,\n'
  const jsonLines = rows.map(row => JSON.stringify(row)).join('\r\n\n')
  const contents: Record<string, string> = {
    'rows.jsonl': jsonLines,
    'rows.ndjson': `\uFEFF${jsonLines}`,
    'lines.json': jsonLines,
    'rows.json': JSON.stringify(rows, null, 2),
    'rows.csv': csv,
    'rows.tsv': csv.replaceAll('a, ', 'a, ').replace('prompt,', 'prompt\t').replace('",é', '"\té').replace('1,', '1\t'),
  }
  for (const [name, content] of Object.entries(contents))
    it(`reads ${name}, plain and compressed`, async () => {
      const found = [await readRows(file(name, content)), await readRows(file(`${name}.gz`, gzipSync(content)))]
      for (const read of found) assert.deepEqual(JSON.parse(JSON.stringify(read)), rows)
    })

  it('holds a few rows of a long file', async () => {
    const path = file('long.jsonl.gz', gzipSync(`${JSON.stringify({ text: 'x'.repeat(1000) })}\n`.repeat(100_000))) // 100 MB
    const before = process.memoryUsage().rss
    let [count, most] = [0, 0]
    for await (const row of streamRows(path))
      if (String(row['text']).length === 1000 && ++count % 10_000 === 0)
        most = Math.max(most, process.memoryUsage().rss)
    assert.equal(count, 100_000)
    assert.ok(most - before < 90 * 2 ** 20, `${Math.round((most - before) / 2 ** 20)} MB more`)
  })

  it('names the file, and the line or row that is none', async () => {
    const cases: [name: string, content: string | Buffer, message: RegExp][] = [
      ['a.jsonl', '{"a": 1}\n[2]\n', /a\.jsonl: line 2: got an array, needed a JSON object a line/],
      ['b.json', '[{"a": 1}, 2]', /b\.json: row 1 is 2, needed an object/],
      ['c.json', '[{"a": 1}', /c\.json: .*JSON/],
      ['d.parquet', 'PAR0', /d\.parquet: /],
      ['e.arrow', 'nothing', /e\.arrow: /],
      ['f.jsonl.gz', 'no gzip', /f\.jsonl\.gz: incorrect header check/],
      ['g.jsonl', '\n', /g\.jsonl holds no row/],
      ['h.txt', 'a', /h\.txt: needed one of \.jsonl, /],
    ]
    for (const [name, content, message] of cases) await assert.rejects(readRows(file(name, content)), { message })
    await assert.rejects(readRows(join(dir, 'none.jsonl')), /none\.jsonl: ENOENT/)
    await assert.rejects(readRows(join(dir, 'none.jsonl.gz')), /none\.jsonl\.gz: ENOENT/)
  })
})
