import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { format, resolveConfig } from 'prettier'
import { fieldTables } from './fieldTables.js'

describe('docs/cli.md', () => {
  it('has every field with its default; UPDATE_SNAPSHOTS=1 writes the tables anew', async () => {
    const path = 'docs/cli.md'
    const stored = readFileSync(path, 'utf8')
    let text = stored
    for (const [name, table] of Object.entries(fieldTables())) {
      const section = new RegExp(`(<!-- table: ${name} -->\n)[^]*?(<!-- end -->)`)
      assert.match(text, section, `docs/cli.md has no table ${name}`)
      text = text.replace(section, (_, begin: string, end: string) => `${begin}\n${table}\n\n${end}`)
    }
    const formatted = await format(text, { ...(await resolveConfig(path)), filepath: path })
    if (process.env.UPDATE_SNAPSHOTS === '1') writeFileSync(path, formatted)
    else assert.ok(stored === formatted, `${path} is stale. Run UPDATE_SNAPSHOTS=1 npm test -- test/cli/docs.test.ts.`)
  })
}).timeout(30_000)
