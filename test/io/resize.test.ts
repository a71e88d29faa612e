import assert from 'node:assert/strict'
import type { RgbImage } from '../../src/io/images.js'
import { resize, type Filter } from '../../src/io/resize.js'
import { openSafetensors } from '../../src/io/safetensors.js'
import { fixture } from '../models/fixture.js'

describe('resize', () => {
  it('gives the bits of Pillow', async () => {
    const expected = await openSafetensors(fixture('images_expected.safetensors'))
    const pixels = async (name: string): Promise<RgbImage> => {
      const [height, width] = expected.tensors.get(name)!.shape as [number, number, number]
      return { width, height, data: new Uint8ClampedArray(await expected.read(name)) }
    }
    const source = await pixels('source')
    const names = [...expected.tensors.keys()].filter(name => /^(bilinear|bicubic|lanczos)\./.test(name))
    assert.equal(names.length, 18)
    for (const name of names) {
      const wanted = await pixels(name)
      const found = resize(source, wanted.width, wanted.height, name.split('.')[0] as Filter)
      assert.deepEqual(found, wanted, name)
    }
    await expected.close()
  })

  it('keeps a flat picture flat, and one of the size wanted as it is', () => {
    const flat: RgbImage = { width: 5, height: 4, data: new Uint8ClampedArray(60).fill(77) }
    assert.deepEqual(resize(flat, 5, 4), flat)
    assert.ok(resize(flat, 13, 2, 'lanczos').data.every(x => x === 77))
  })

  it('refuses sizes that are none', () => {
    const image: RgbImage = { width: 1, height: 1, data: new Uint8ClampedArray(3) }
    assert.throws(() => resize(image, 0, 4), /resize: width is 0, needed an integer ≥ 1/)
    assert.throws(() => resize(image, 4, 2.5), /resize: height is 2.5/)
    assert.throws(() => resize({ ...image, width: 2 }, 4, 4), /resize: 3 values for 2 × 1 pixels, needed 6/)
  })
})
