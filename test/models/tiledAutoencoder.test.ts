import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { autoencoderKl, autoencoderKlConfig } from '../../src/models/index.js'
import { tiled, tiledAutoencoder } from '../../src/models/tiledAutoencoder.js'
import { readFields } from '../../src/io/json.js'
import { loadForwardModel } from '../../src/models/forwardModel.js'
import { disposeTree, jit, start, type TensorTree } from '../../src/xla/index.js'
import { fixture } from './fixture.js'

const ROUNDING = 1e-5 // of sums of a few weighted float32 values

const fixtureModel = async () =>
  autoencoderKl(autoencoderKlConfig(await readFields(fixture('kontext/vae/config.json'))))

describe('tiledAutoencoder', function () {
  this.timeout(60_000)
  before(() => start())

  it('changes nothing about a map that looks at one place, whatever the size', () => {
    for (const [height, width, side] of [
      [20, 28, 8],
      [9, 8, 8],
      [8, 30, 12],
      [6, 7, 8],
    ] as const) {
      const x = tf.randomNormal([2, 3, height, width], 0, 1, 'float32', 1)
      const twice = (t: tf.Tensor) => {
        const [b, c, h, w] = t.shape as [number, number, number, number]
        return tf.reshape(tf.tile(tf.reshape(t, [b, c, h, 1, w, 1]), [1, 1, 1, 2, 1, 2]), [b, c, 2 * h, 2 * w])
      }
      const found = tiled(x, side, { scale: 2, channels: 3 }, twice)
      const apart = tf.max(tf.abs(tf.sub(found, twice(x)))).dataSync()[0]!
      assert.ok(apart < ROUNDING, `${height} × ${width} in tiles of ${side}: ${apart}`)
    }
  })

  it('decodes where tiles do not overlap what each gives alone, with less memory', async () => {
    const model = await fixtureModel()
    const { weights } = await loadForwardModel(fixture('kontext/vae'))
    const latents = tf.randomNormal([1, 4, 64, 16], 0, 1, 'float32', 1)
    const program = (vae: typeof model) =>
      jit((weights: TensorTree, latents: tf.Tensor) => tf.tidy(() => vae.decode(weights, latents)))
    const [whole, tiles] = [program(model), program(tiledAutoencoder(model, 64))] // 16 latents a side, one tile each 12
    const found = await tiles.async(weights, latents)
    assert.deepEqual(found.shape, [1, 3, 256, 64])
    const second = await whole.async(weights, tf.slice(latents, [0, 0, 12, 0], [1, 4, 16, 16]))
    const rows = (x: tf.Tensor, from: number) => tf.slice(x, [0, 0, from, 0], [1, 3, 32, 64])
    const apart = tf.max(tf.abs(tf.sub(rows(found, 64), rows(second, 16)))).dataSync()[0]!
    assert.ok(apart < ROUNDING, `${apart}`)
    const saved = whole.memory(weights, latents).temporary / tiles.memory(weights, latents).temporary
    assert.ok(saved > 2, `temporaries ${saved} times smaller`)
    disposeTree([weights, latents, found, second])
  })

  it('refuses tiles whose overlap is not whole', async () => {
    const model = await fixtureModel()
    assert.throws(() => tiledAutoencoder(model, 24), /tiles of 24 pixels, needed a multiple of 16/)
  })
})
