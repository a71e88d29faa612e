import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Compares a value with the JSON stored under test/fixtures. `UPDATE_SNAPSHOTS=1` stores it; look at the difference before committing. */
export function matchesSnapshot(value: unknown, name: string): void {
  const path = join('test/fixtures', `${name}.json`)
  if (process.env.UPDATE_SNAPSHOTS === '1') {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, JSON.stringify(value, roundNumbers) + '\n')
    return
  }
  assert.ok(existsSync(path), `no snapshot ${path}: run with UPDATE_SNAPSHOTS=1 and look at it`)
  assert.deepEqual(JSON.parse(JSON.stringify(value, roundNumbers)), JSON.parse(readFileSync(path, 'utf8')))
}

/** Nine digits: sine and power may differ in the last ones between machines. */
function roundNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(9)) : value
}
