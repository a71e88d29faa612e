import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { arrowRows } from '../../src/datasets/arrowRows.js'

const fixture = (name: string) => `test/fixtures/rows/${name}`

/** As JSON has it: bytes as lists, dates in ISO, integers of 64 bits as numbers. */
const asJson = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, part: unknown) =>
      part instanceof Uint8Array ? [...part] : typeof part === 'bigint' ? Number(part) : part,
    ),
  )

describe('arrowRows', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'arrow-'))))
  after(() => rmSync(dir, { recursive: true }))

  for (const name of ['types.arrow', 'types_file.arrow'])
    it(`reads each type of ${name} as pyarrow does`, () => {
      const needed = JSON.parse(readFileSync(fixture('types.json'), 'utf8')) as object[]
      const found = asJson([...arrowRows(fixture(name))]) as object[]
      assert.equal(found.length, needed.length)
      for (const [row, values] of found.entries()) assert.deepEqual(values, needed[row])
    })

  const whole = readFileSync(fixture('types.arrow'))
  const read = (bytes: Buffer): number => {
    const path = join(dir, 'rows.arrow')
    writeFileSync(path, bytes)
    return [...arrowRows(path)].length
  }

  it('answers a file that is cut off anywhere with whole batches or an Error', () => {
    let refused = 0
    for (let length = 0; length < whole.length; length += 61)
      try {
        assert.ok([0, 3, 5].includes(read(whole.subarray(0, length))))
      } catch (error) {
        assert.match((error as Error).message, /which cannot be|no schema found/)
        refused++
      }
    assert.ok(refused > 100)
  })

  it('refuses lengths that go back or beyond the file', () => {
    const at = (place: number, value: number): Buffer => {
      const bytes = Buffer.from(whole)
      bytes.writeInt32LE(value, place)
      return bytes
    }
    assert.throws(() => read(at(4, -8)), /-8 bytes from byte 8 on, of \d+ in the file, which cannot be/)
    assert.throws(() => read(at(4, 0x7fffffff)), /2147483647 bytes from byte 8 on/)
    assert.throws(() => read(at(0, 16)), /no message of an Arrow stream/)
    assert.throws(() => read(at(8, 0x7fffffff)), /a message points beyond its bytes/)
  })
})
