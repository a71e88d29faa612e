import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { packRows } from '../../src/optimizers/packRows.js'
import { sft, type Run, type SftConfig } from '../../src/optimizers/index.js'
import { loadPolicy, type LanguagePolicy } from '../../src/policies/index.js'
import { fixture } from '../models/fixture.js'

const SAME = 1e-5 // relative; float32 sums in another order

interface Case {
  size: number
  lengths: number[]
  packs: number[][]
}

describe('packing', function () {
  this.timeout(60_000)
  const rows = [
    { prompt: 'Ann has 12 apples.', completion: ' add: 12+7=19' },
    { prompt: 'How many pears?', completion: ' 24' },
    { prompt: 'Ben shares 24 pears', completion: ' among 6 friends.' },
  ]
  const step = async (policy: LanguagePolicy, config: Partial<SftConfig>) => {
    const run: Run = sft(policy, rows, { max_steps: 1, shuffle: false, ...config })
    for await (const row of run) return [row['loss'], row['grad_norm'], row['num_tokens']] as number[]
    return assert.fail('no step')
  }

  it('lays the rows together that TRL does', () => {
    const { cases } = JSON.parse(readFileSync(fixture('optimizers/trl_packs.json'), 'utf8')) as { cases: Case[] }
    for (const { size, lengths, packs } of cases) assert.deepEqual(packRows(lengths, size), packs)
    assert.deepEqual(packRows([0, 9, 0], 4), [[1]])
  })

  for (const name of ['qwen2', 'gemma3'])
    it(`gives the loss and gradient of separate rows: ${name}`, async () => {
      const policy = await loadPolicy(fixture(name))
      const separate = await step(policy.fork(), { per_device_train_batch_size: 3 })
      const [a, b, c] = policy.lengths(rows.map(row => row.prompt), rows.map(row => row.completion)).sort((a, b) => b - a) as [number, number, number] // prettier-ignore
      const two = { per_device_train_batch_size: 2, packing: true, max_length: Math.max(a, b + c) }
      const packed = await step(policy.fork(), two)
      packed.forEach((x, i) => assert.ok(Math.abs(x / separate[i]! - 1) < SAME, String([packed, separate])))
      policy.dispose()
    })

  it('needs a length and tokens', async () => {
    const policy = await loadPolicy(fixture('qwen2'))
    sft(policy, rows, { max_length: null })
    assert.throws(
      () => sft(policy, rows, { packing: true, max_length: null }),
      /SftConfig: packing needs the length of a pack/,
    )
    const { encode, score } = policy
    const other = { ...policy, encode, score } as unknown as LanguagePolicy
    assert.throws(() => sft(other, rows, { packing: true }), /this policy has no tokens to pack/)
    policy.dispose()
  })
})
