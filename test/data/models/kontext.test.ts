import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EDITING, weightsOf } from '../../../data/make/kontextTraining.js'
import { freeScenes } from '../../../src/datasets/index.js'
import { loadKontextPolicy } from '../../../src/policies/index.js'
import { freeEditVerified } from '../../../src/rewards/index.js'
import { disposeTree, packageRoot } from '../../../src/xla/index.js'

const models = join(packageRoot(), 'data/models')

describe('data/models/tiny-kontext and wide-kontext', () => {
  for (const name of ['tiny-kontext', 'wide-kontext'])
    it(`${name} is what its manifest says`, async () => {
      const { sha256 } = JSON.parse(await readFile(join(models, name, 'manifest.json'), 'utf8')) as { sha256: Record<string, string> } // prettier-ignore
      assert.deepEqual(Object.keys(sha256), ['vae', ...EDITING])
      for (const [part, digest] of Object.entries(sha256)) {
        const bytes = await readFile(weightsOf(join(models, name), part))
        assert.equal(createHash('sha256').update(bytes).digest('hex'), digest, part)
      }
    })

  it('wide-kontext does about a third of the edits it is asked for', async () => {
    const rows = freeScenes({ seed: 1, size: 600 }).test.slice(0, 44)
    const policy = await loadKontextPolicy(join(models, 'wide-kontext'))
    const prompts = rows.map(row => row.prompt)
    const { outputs, trajectories } = await policy.sample(prompts, { num_inference_steps: 6, greedy: true, seed: 1 })
    disposeTree(trajectories)
    policy.dispose()
    const column = <K extends 'source' | 'expected'>(key: K) => rows.map(row => row[key])
    const scores = await freeEditVerified()({ prompts, completions: outputs, source: column('source'), expected: column('expected') }) // prettier-ignore
    const verified = scores.filter(score => score === 1).length / rows.length
    assert.ok(verified > 0.2 && verified < 0.55, `${verified}`)
  })
})
