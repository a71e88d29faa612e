import assert from 'node:assert/strict'
import { sampleGallery, type Sample } from '../../src/plots/index.js'

const shown = (...arguments_: Parameters<typeof sampleGallery>) =>
  sampleGallery(...arguments_)[Symbol.for('Jupyter.display')]!()

describe('plots/sampleGallery', () => {
  it('shows prompt, completion and components, and escapes all of them', () => {
    const evil = '<img src=x onerror="alert(1)">'
    const sample: Sample = {
      prompt: evil,
      completion: evil,
      name: evil,
      reward: 0.123456,
      components: { [evil]: null },
    }
    const { 'text/html': html, 'text/plain': plain } = shown([sample])
    assert.ok(!html.includes('<img'))
    assert.equal(html.split('&lt;img src=x onerror=&quot;alert(1)&quot;&gt;').length - 1, 4)
    assert.match(html, /reward <b>0\.1235<\/b>/)
    assert.match(html, /<b>–<\/b>/)
    assert.ok(plain.includes(evil))
  })

  it('counts the samples beyond its limit', () => {
    const samples = Array.from({ length: 5 }, (_, i) => ({ prompt: `p${i}`, completion: '' }))
    const { 'text/html': html } = shown(samples, { limit: 2 })
    assert.ok(html.includes('p1') && !html.includes('p2') && html.includes('and 3 more'))
  })
})
