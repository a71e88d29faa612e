/* Each method on the shipped model for 30 steps, twice in other processes and once in this one: the rows are equal bit for bit. */
import assert from 'node:assert/strict'
import { METHODS, rowsElsewhere, rowsOf } from '../acceptance/shortRuns.js'

const [STEPS, SEED] = [30, 7]

const elsewhere = [await rowsElsewhere(STEPS, SEED), await rowsElsewhere(STEPS, SEED)]
for (const method of METHODS) {
  const rows = await rowsOf(method, STEPS, SEED)
  elsewhere.forEach((other, i) => assert.deepEqual(other[method], rows, `${method}, process ${i + 2}`))
}
console.log(`replay: ${METHODS.join(', ')}: ${STEPS} steps each, rows equal in three processes`)
