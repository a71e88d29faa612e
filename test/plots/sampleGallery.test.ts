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

  it('shows pixels and files of images, and says what is none', () => {
    const pixels = { data: new Uint8ClampedArray(2 * 3 * 4).fill(200), width: 2, height: 3 }
    const jpeg = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 1)
    const sample: Sample = { prompt: '"a" cat', completion: '', images: [pixels, jpeg] }
    const { 'text/html': html, 'text/plain': plain } = shown([sample])
    const [png, other] = [...html.matchAll(/<img src="data:image\/(\w+);base64,([^"]+)" alt="&quot;a&quot; cat"/g)]
    assert.equal(png![1], 'png')
    const header = Buffer.from(png![2]!, 'base64')
    assert.deepEqual([header.readUInt32BE(16), header.readUInt32BE(20)], [2, 3])
    assert.deepEqual([other![1], other![2]], ['jpeg', Buffer.from(jpeg).toString('base64')])
    assert.match(plain, /image 2 × 3\nimage$/)
    assert.throws(() => shown([{ ...sample, images: [Uint8Array.of(1, 2, 3, 4)] }]), /neither the first bytes of a PNG/)
    assert.throws(
      () => shown([{ ...sample, images: [{ ...pixels, width: 3 }] }]),
      /3 × 3 pixels has 24 bytes, needed 27 \(RGB\) or 36/,
    )
  })

  it('counts the samples beyond its limit', () => {
    const samples = Array.from({ length: 5 }, (_, i) => ({ prompt: `p${i}`, completion: '' }))
    const { 'text/html': html } = shown(samples, { limit: 2 })
    assert.ok(html.includes('p1') && !html.includes('p2') && html.includes('and 3 more'))
  })
})
