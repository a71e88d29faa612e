import assert from 'node:assert/strict'
import { METHODS, rowsElsewhere, rowsOf } from './shortRuns.js'

const [STEPS, SEED] = [3, 5]

describe('replay: the same seed gives the same numbers', function () {
  this.timeout(180_000)

  let elsewhere: ReturnType<typeof rowsElsewhere>
  before(() => {
    elsewhere = rowsElsewhere(STEPS, SEED) // beside what this process computes
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
