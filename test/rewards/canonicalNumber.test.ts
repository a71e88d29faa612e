import assert from 'node:assert/strict'
import { canonicalNumber } from '../../src/rewards/canonicalNumber.js'

describe('canonicalNumber', () => {
  it('gives equal numbers one spelling, and refuses the rest', () => {
    const spellings = ['1250', '1,250', '$1250', '01250', '1250.', '1250.00', ' 1250 ']
    assert.deepEqual(new Set(spellings.map(canonicalNumber)), new Set(['1250']))
    assert.deepEqual(['-5', '-0.50', '.25', '0', '-0', '0.0'].map(canonicalNumber), [
      '-5',
      '-0.5',
      '0.25',
      '0',
      '0',
      '0',
    ])
    for (const text of ['', '-', '.', '1e3', '1,2', '12,34', '1 2', 'twelve', 'NaN', 'Infinity', '١'])
      assert.equal(canonicalNumber(text), null, text)
  })

  it('keeps the value of any number it reads', () => {
    for (let i = -2000; i <= 2000; i += 7) {
      const x = i / 8
      assert.equal(Number(canonicalNumber(String(x))), x)
      assert.equal(Number(canonicalNumber(x.toFixed(6))), x)
      assert.equal(Number(canonicalNumber((x * 4096).toLocaleString('en-US'))), x * 4096)
    }
  })
})
