import assert from 'node:assert/strict'
import { table } from 'arquero'
import { comparisonTable } from '../../src/plots/index.js'

const evaluations = [
  { name: 'base', seed: 1, accuracy: 0.5, f1: 0.4 },
  { name: 'grpo', seed: 1, accuracy: 1, f1: 0.9 },
  { name: 'grpo', seed: 2, accuracy: 2, f1: null },
  { name: 'grpo', seed: 3, accuracy: 3, f1: 0.7 },
]

describe('plots/comparisonTable', () => {
  it('has a row a method with mean and t interval over its runs', () => {
    const compared = comparisonTable(evaluations)
    assert.deepEqual(compared.columnNames(), ['name', 'n', 'accuracy', 'accuracy_low', 'accuracy_high', 'f1', 'f1_low', 'f1_high']) // prettier-ignore
    const [base, grpo] = compared.objects() as Record<string, unknown>[]
    assert.deepEqual([base?.n, base?.accuracy, base?.accuracy_low], [1, 0.5, null])
    assert.deepEqual([grpo?.n, grpo?.accuracy, grpo?.f1], [3, 2, 0.8])
    assert.ok(Math.abs((grpo?.accuracy_high as number) - 4.4841377117) < 1e-8)
  })

  it('takes an arquero table, chosen columns and another name for the method', () => {
    const compared = comparisonTable(table({ method: ['a', 'a'], x: [1, 3], y: [0, 0] }), {
      by: 'method',
      metrics: ['x'],
    })
    assert.deepEqual(compared.columnNames(), ['method', 'n', 'x', 'x_low', 'x_high'])
    assert.equal(compared.get('x'), 2)
  })

  it('refuses no rows, an unknown metric and a missing name', () => {
    assert.throws(() => comparisonTable([]), /got no rows/)
    assert.throws(
      () => comparisonTable(evaluations, { metrics: ['acuracy'] }),
      /"acuracy"; found accuracy, f1, name, seed/,
    )
    assert.throws(() => comparisonTable(evaluations, { by: 'method' }), /a row has no text or number "method"/)
  })
})
