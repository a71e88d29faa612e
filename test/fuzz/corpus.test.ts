import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { attempt } from './attempt.js'
import { prepare, TARGETS } from './targets.js'

/** What fuzzing found, and files that were made to do harm: read, or answered with an Error that says where. */
describe('files from elsewhere', () => {
  let folder: string
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'corpus-'))))
  afterEach(() => rmSync(folder, { recursive: true }))

  for (const [name, target] of Object.entries(TARGETS)) {
    const kept = join('test/fuzz/corpus', name)
    const files = [
      ...(target.seeds ?? []),
      ...(existsSync(kept) ? readdirSync(kept).map(file => join(kept, file)) : []),
    ]
    const inputs = [...files.map(file => [file, readFileSync(file)] as const), ...(target.texts ?? []).map(text => [text.slice(0, 40), Buffer.from(text, 'latin1')] as const)] // prettier-ignore
    it(`${name}: ${inputs.length} inputs`, async () => {
      const parse = target.isolated ?? target.parse
      const path = prepare(target, folder)
      await parse(path).catch(() => undefined) // no file is there yet: only the parser is loaded
      for (const [input, bytes] of inputs) assert.equal(await attempt({ ...target, parse }, path, bytes), null, input)
    })
  }
})
