import assert from 'node:assert/strict'
import { bytesPerToken, differences, median, page, summary, type Result } from './report.js'
import { CASES, type CaseOf, type Measured } from './cases.js'

const found = (seconds: number[], rest: Partial<Measured> = {}): Measured => ({
  seconds,
  peakBytes: 2e9,
  loadedBytes: 1e9,
  versions: 'v1',
  ...rest,
})
const caseOf = (name: string) => CASES.find(work => work.name === name)!

describe('bench/report', () => {
  it('counts the bytes that a token of decoding reads', () => {
    const model = { vocab_size: 10, hidden_size: 4, intermediate_size: 6, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1 } // prettier-ignore
    const work = { kind: 'decode', model, rows: 3, prompt: 5, tokens: 8, type: 'f32' } as unknown as CaseOf<'decode'>
    const layer = 4 * 4 + 2 * 4 + 2 * 4 + 4 * 4 + 3 * 4 * 6 // q, k, v, o, MLP
    const cache = 2 * 2 * 3 * 2 * (5 + 4) // keys and values × layers × rows × width × mean length
    assert.equal(bytesPerToken(work), 4 * (2 * layer + 10 * 4 + cache))
    assert.equal(bytesPerToken({ ...work, type: 'bf16' }), 2 * (2 * layer + 10 * 4 + cache))
  })

  it('takes the middle run, or the mean of the two in the middle', () => {
    assert.equal(median([3, 1, 2]), 2)
    assert.equal(median([4, 1, 3, 2]), 2.5)
  })

  it('tells subjects that did not compute the same', () => {
    const work = caseOf('train-f32')
    const rewardlab = found([1], { parameters: 8, loss: 10.4 })
    const same: Result = {
      work,
      measured: { rewardlab, JAX: found([1], { parameters: 8, loss: 10.35 }) },
      failures: [],
    }
    assert.deepEqual(differences(same), [])
    for (const wrong of [
      { parameters: 9, loss: 10.4 },
      { parameters: 8, loss: 10 },
      { parameters: 8, loss: NaN },
    ])
      assert.equal(differences({ ...same, measured: { rewardlab, JAX: found([1], wrong) } }).length, 1)
  })

  it('shows best and median, the ratio of the best, memory and compilation, and what failed', () => {
    const rewardlab = found([2, 4, 3], { traceSeconds: 0.5, compileSeconds: 3, parameters: 1, loss: 1 })
    const results: Result[] = [
      {
        work: caseOf('train-f32'),
        measured: { rewardlab, PyTorch: found([4, 6]) },
        failures: ['JAX: no module\nmore'],
      },
    ]
    const text = page(results, 0.1, 2)
    assert.match(
      text,
      /\| train-f32 \| .*4 × 128 tokens, f32 \| 2\.00 \(3\.00\) s \| 4\.00 \(5\.00\) s \| 0\.50 \| – \|/,
    )
    assert.match(text, /\| train-f32 \| 2\.00 GB \(1\.00 GB\) \| 2\.00 GB \(1\.00 GB\) \|/)
    assert.match(text, /\| train-f32 \| 0\.50 \+ 3\.0 s \| – \|/)
    assert.match(text, /- train-f32, JAX: no module$/m)
    assert.match(summary(results[0]!), /rewardlab +2\.00 \(3\.00\) s/)
  })
})
