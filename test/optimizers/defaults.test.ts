import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { dpoDefaults, grpoDefaults, sftDefaults } from '../../src/optimizers/index.js'

type Fields = Record<string, unknown>
const trl = JSON.parse(readFileSync('test/fixtures/optimizers/trl_defaults.json', 'utf8')) as Record<string, Fields>
const ours: Record<string, object> = { SFT: sftDefaults, DPO: dpoDefaults, GRPO: grpoDefaults }
const docs = readFileSync('docs/trl.md', 'utf8')

/** Defaults that say the same in another form, or that the docs give a reason for. */
const DIFFERENT: Fields = { optim: 'adamw_torch', bf16: false, loss_type: 'sigmoid', min_p: 0, generation_kwargs: {} }

describe('configurations beside TRL', () => {
  for (const [name, defaults] of Object.entries(ours)) {
    it(`${name}: fields that both have, have the same default`, () => {
      for (const [field, value] of Object.entries(defaults).filter(([field]) => field in trl[name]!)) {
        const expected = trl[name]![field]
        if (JSON.stringify(value) !== JSON.stringify(expected)) assert.deepEqual(value, DIFFERENT[field], `${field}: ${JSON.stringify(value)}, TRL ${JSON.stringify(expected)}`) // prettier-ignore
      }
    })

    it(`${name}: docs/trl.md names the fields that only one has`, () => {
      const [a, b] = [Object.keys(defaults), Object.keys(trl[name]!)]
      const single = [...a.filter(field => !b.includes(field)), ...b.filter(field => !a.includes(field))]
      const named = (field: string) => docs.includes(`\`${field}\``) || docs.includes(`\`${field.split('_')[0]}_…\``)
      assert.deepEqual(single.filter(field => !named(field)), []) // prettier-ignore
    })
  }
})
