import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { Fields } from '../../src/io/json.js'
import { openSafetensors } from '../../src/io/safetensors.js'
import { loadForwardModel } from '../../src/models/forwardModel.js'
import { initQualityNet, qualityNetConfig } from '../../src/models/index.js'
import { qualityFeatures, qualityLoss } from '../../src/models/qualityNet.js'
import { valueAndGrad } from '../../src/optimizers/valueAndGrad.js'
import { disposeTree, jit, mapTensors, random, start, tensorsOf, type TensorTree } from '../../src/xla/index.js'
import { fixture } from './fixture.js'
import { forwardParity } from './forwardParity.js'

const PARITY = 1e-5 // float32 against PyTorch's float32
const FINITE_DIFFERENCE = 0.02 // relative; float32, steps of 1e-3

describe('QualityNet', () => {
  before(() => start())

  it('agrees with the same network in PyTorch', async () => {
    const expected = await openSafetensors(fixture('quality_net_expected.safetensors'))
    const same = (name: string) => ({ [name]: name })
    await forwardParity(fixture('quality_net'), expected, same('pixel_values'), same('quality'), PARITY)
    await expected.close()
  })

  it('is differentiable in all weights but its norm', async () => {
    const { weights } = await loadForwardModel(fixture('quality_net'))
    const pictures = random.uniform(random.key(3), [3, 32, 36, 3])
    const loss = (w: TensorTree) => {
      const { norm } = w as unknown as { norm: { mean: tf.Tensor; deviation: tf.Tensor } }
      return tf.mean(qualityLoss(w, qualityFeatures(w, pictures), norm))
    }
    const direction = mapTensors(weights, (t, path) => path.startsWith('norm') ? tf.zerosLike(t) : random.normal(random.key(t.size), t.shape)) // prettier-ignore
    const along = jit((w: TensorTree, d: TensorTree, step: tf.Tensor) => {
      const steps = tensorsOf(d)
      let i = 0
      return loss(mapTensors(w, t => tf.add(t, tf.mul(steps[i++]!, step))))
    })
    const slope = jit((w: TensorTree, d: TensorTree) => {
      const { grads } = valueAndGrad(w => ({ value: loss(w), aux: {} }), w)
      const steps = tensorsOf(d)
      return tf.addN(tensorsOf(grads).map((g, i) => tf.sum(tf.mul(g, steps[i]!))))
    })
    const value = async (t: tf.Tensor) => (await t.data())[0]!
    const step = 1e-3
    const [up, down] = [await value(along(weights, direction, tf.scalar(step))), await value(along(weights, direction, tf.scalar(-step)))] // prettier-ignore
    const [numeric, exact] = [(up - down) / (2 * step), await value(slope(weights, direction))]
    assert.ok(Math.abs(numeric - exact) < FINITE_DIFFERENCE * Math.abs(exact), `${numeric}, ${exact}`)
    disposeTree([weights, pictures, direction])
  })

  it('starts from weights that a seed tells, and names a field that does not fit', () => {
    const config = { channels: [4, 4, 4] as [number, number, number], hidden_size: 6, embedding_size: 2 }
    const [a, b] = [initQualityNet(config, random.key(1)), initQualityNet(config, random.key(1))]
    assert.deepEqual(tensorsOf(a).map(t => [...t.dataSync()]), tensorsOf(b).map(t => [...t.dataSync()])) // prettier-ignore
    disposeTree([a, b])
    const read = (json: Record<string, unknown>) => () => qualityNetConfig(new Fields(json, 'config.json'))
    assert.throws(
      read({ ...config, channels: [4, 0, 4] }),
      /config\.json: channels is \[4,0,4\], needed three integers ≥ 1/,
    )
    assert.throws(read({ channels: [4, 4, 4], hidden_size: 6 }), /embedding_size is missing/)
  })
})
