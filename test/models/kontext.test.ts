import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import * as tf from '@tensorflow/tfjs-core'
import { latentImageIds, packLatents, preferredResolution, unpackLatents } from '../../src/models/index.js'
import { start } from '../../src/xla/index.js'
import { fixture } from './fixture.js'

interface Geometry {
  latents: number[]
  packed: number[][][]
  ids: number[][]
  /** width, height → width, height */
  preferred: [number, number, number, number][]
}

describe('FLUX.1 Kontext', () => {
  let geometry: Geometry
  before(async () => {
    await start()
    geometry = JSON.parse(await readFile(fixture('kontext_geometry.json'), 'utf8')) as Geometry
  })

  it('packs latents as diffusers does, and unpacks them', async () => {
    const latents = tf.reshape(tf.range(0, tf.util.sizeFromShape(geometry.latents)), geometry.latents)
    const packed = packLatents(latents)
    assert.deepEqual(await packed.array(), geometry.packed)
    const [, , h, w] = geometry.latents as [number, number, number, number]
    assert.deepEqual(await unpackLatents(packed, h, w).array(), await latents.array())
    assert.throws(() => packLatents(tf.zeros([1, 2, 3, 4])), /latents are \[1, 2, 3, 4\], needed .* h and w even/)
    assert.throws(() => unpackLatents(packed, h, w + 2), /tokens are \[2, 6, 12\], needed \[B, 8, 4·C\]/)
  })

  it('numbers the tokens of target and reference', async () => {
    assert.deepEqual(await latentImageIds(4, 6, 0).array(), geometry.ids)
    assert.deepEqual(await latentImageIds(4, 6, 1).array(), geometry.ids.map(([, row, column]) => [1, row, column])) // prettier-ignore
  })

  it('prefers the sizes that diffusers prefers', () => {
    assert.ok(geometry.preferred.length >= 8)
    for (const [w, h, width, height] of geometry.preferred)
      assert.deepEqual(preferredResolution(w, h), { width, height }, `${w} × ${h}`)
  })
})
