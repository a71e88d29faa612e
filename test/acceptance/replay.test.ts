import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Row } from '../../src/optimizers/index.js'
import { rowsOf, type Method } from './shortRuns.js'

const METHODS: readonly Method[] = ['sft', 'dpo', 'grpo', 'srpo']
const [STEPS, SEED] = [3, 5]

describe('replay: the same seed gives the same numbers', function () {
  this.timeout(180_000)

  /** All methods' rows, computed by another process while this one computes its own. */
  let elsewhere: Promise<Record<string, Row[]>>
  before(() => {
    const program = `
      import { rowsOf } from ${JSON.stringify(new URL('shortRuns.js', import.meta.url).href)}
      const rows = {}
      for (const method of ${JSON.stringify(METHODS)}) rows[method] = await rowsOf(method, ${STEPS}, ${SEED})
      console.log(JSON.stringify(rows))`
    elsewhere = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]).then(
      ({ stdout }) => JSON.parse(stdout) as Record<string, Row[]>,
    )
    elsewhere.catch(() => {}) // whoever awaits it reports it
  })

  for (const method of METHODS)
    it(`${method}: in one process and in two`, async () => {
      const first = await rowsOf(method, STEPS, SEED)
      assert.equal(first.length, STEPS)
      assert.ok(first.every(row => Number.isFinite(row['loss']) && (row['grad_norm'] as number) > 0))
      assert.deepEqual(await rowsOf(method, STEPS, SEED), first)
      assert.notDeepEqual(await rowsOf(method, STEPS, SEED + 1), first)
      assert.deepEqual((await elsewhere)[method], first)
    })
})
