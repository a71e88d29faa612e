import assert from 'node:assert/strict'
import { MOVED, RELATIVE, repeated } from './trlTrajectory.js'

describe('trajectories', function () {
  this.timeout(300_000)

  // The others: npm run check:long -- trlTrajectories
  for (const name of ['dpo_plain', 'grpo_off_policy'])
    it(`${name}: ten steps as TRL's trainer does them`, async () => {
      const { off, what, moved } = await repeated(name)
      assert.ok(off <= RELATIVE, what)
      assert.ok(moved <= MOVED, `weights are ${moved} apart`)
    })
})
