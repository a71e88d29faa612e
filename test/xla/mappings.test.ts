import assert from 'node:assert/strict'
import { mappingsScarce } from '../../src/xla/mappings.js'

describe('mappingsScarce', () => {
  it('counts the mappings that the system lists', () => {
    assert.equal(mappingsScarce(20), process.platform === 'linux') // Node alone has some hundred
    assert.equal(mappingsScarce(60_000), false)
  })
})
