import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder of its own for each test of the enclosing suite, deleted after it. */
export function temporaryFolder(): () => string {
  let dir = ''
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'rewardlab-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))
  return () => dir
}
