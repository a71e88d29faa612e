/* Ten steps of SFT, of DPO (plain rows, chat rows with a moving reference, LoRA) and of GRPO (accumulated; off policy) as TRL's trainers did them. */
import assert from 'node:assert/strict'
import { MOVED, RELATIVE, repeated, runs } from '../optimizers/trlTrajectory.js'

const results = []
for (const name of Object.keys(runs)) results.push({ name, ...(await repeated(name)) })
const told = results.map(({ name, off, moved }) => `${name} ${off.toExponential(1)} and ${moved.toExponential(1)}`)
console.log(
  `trlTrajectories: largest difference of a logged number, and of the weights as a share of their way: ${told.join('; ')}`,
)
for (const { name, off, what, moved } of results) {
  assert.ok(off <= RELATIVE, `${name} ${what}`)
  assert.ok(moved <= MOVED, `${name}: weights are ${moved} apart`)
}
process.exit(0)
