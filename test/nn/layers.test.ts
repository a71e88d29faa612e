import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { gatedMlp, linear, rmsNorm, rotaryAngles, rotaryLookup, rotate, tokenLogProbs } from '../../src/nn/index.js'
import { astype, start, typeOf } from '../../src/xla/index.js'
import { checkGradient, close, noise, values } from './numbers.js'

describe('layers', () => {
  before(() => start())

  it('linear: x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ', async () => {
    const x = tf.tensor3d([[[1, 2]], [[3, 4]]])
    const weight = tf.tensor2d([
      [1, 0],
      [0, 1],
      [1, 1],
    ])
    close(await values(linear(x, { weight })), [1, 2, 3, 3, 4, 7])
    const bias = tf.tensor1d([10, 20, 30])
    assert.deepEqual(linear(x, { weight, bias }).shape, [2, 1, 3])
    const lora = { lora_A: tf.tensor2d([[1, 1]]), lora_B: tf.tensor2d([[1], [0], [2]]), lora_scaling: tf.scalar(0.5) }
    close(await values(linear(x, { weight, bias, ...lora })), [12.5, 22, 36, 16.5, 24, 44])
    await checkGradient(a => linear(x, { weight, bias, ...lora, lora_A: a }), noise(1, [1, 2]))
  })

  it('rmsNorm: x / √(mean x² + eps) · w', async () => {
    const weight = tf.tensor1d([1, 2])
    close(await values(rmsNorm(tf.tensor2d([[3, 4]]), weight, 0)), [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)])
    close(await values(rmsNorm(tf.zeros([1, 2]), weight, 1e-6)), [0, 0])
    await checkGradient(x => rmsNorm(x, weight, 1e-6), noise(2, [3, 2]))
  })

  it('rotate: turns pairs by position · frequency, so that products depend on distance alone', async () => {
    const at = (position: number) => rotaryAngles(tf.tensor2d([[position]], undefined, 'int32'), 4, 100)
    const turned = await values(rotate(tf.tensor4d([1, 0, 0, 0], [1, 1, 1, 4]), at(1)))
    close(turned, [Math.cos(1), 0, Math.sin(1), 0])
    close(await values(rotate(tf.tensor4d([0, 1, 0, 0], [1, 1, 1, 4]), at(2))), [0, Math.cos(0.2), 0, Math.sin(0.2)])
    const [q, k] = [noise(3, [1, 1, 1, 4]), noise(4, [1, 1, 1, 4])]
    const product = (i: number, j: number) => values(tf.sum(tf.mul(rotate(q, at(i)), rotate(k, at(j)))))
    close(await product(7, 5), await product(12, 10))
    await checkGradient(x => rotate(x, at(3)), noise(5, [1, 1, 2, 4]))
  })

  it('rotaryLookup: the angles of positions in any order', async () => {
    const positions = tf.tensor2d([3, 0, 2, 3], [2, 2], 'int32')
    const [looked, computed] = [rotaryLookup(positions, 4, 6, 100), rotaryAngles(positions, 6, 100)]
    assert.deepEqual(looked.cos.shape, [2, 2, 1, 3])
    assert.deepEqual(await values(looked.cos), await values(computed.cos))
    assert.deepEqual(await values(looked.sin), await values(computed.sin))
  })

  it('compute in the type of their input, and where half precision would err in float32', async () => {
    const half = (t: tf.Tensor) => astype(t, 'bf16')
    const x = half(noise(12, [2, 3, 8]))
    const square = half(noise(13, [8, 8]))
    const adapter = { lora_A: noise(14, [2, 8]), lora_B: noise(15, [8, 2]), lora_scaling: tf.scalar(2) }
    const heads = tf.reshape(x, [2, 3, 2, 4])
    const mlp = { gate_proj: { weight: square }, up_proj: { weight: square }, down_proj: { weight: square } }
    const types = {
      rmsNorm: rmsNorm(x, half(tf.ones([8])), 1e-6),
      rotate: rotate(heads, rotaryAngles(tf.tensor2d([[0, 1, 2]], [1, 3], 'int32'), 4, 100)),
      linear: linear(x, { weight: square, bias: half(tf.zeros([8])) }),
      'linear with a float32 adapter': linear(x, { weight: square, ...adapter }),
      gatedMlp: gatedMlp(x, mlp),
    }
    for (const [name, t] of Object.entries(types)) assert.equal(typeOf(t), 'bf16', name)
    assert.equal(typeOf(linear(x, { weight: square }, { wide: true })), 'f32')
    assert.equal(typeOf(tokenLogProbs(x, tf.zeros([2, 3], 'int32'))), 'f32')
    const large = rmsNorm(astype(tf.tensor2d([[1000, -1000]]), 'f16'), astype(tf.ones([2]), 'f16'), 0)
    assert.deepEqual(await values(large), [1, -1]) // squares beyond the range of f16
  })

  it('gatedMlp: down(silu(gate)·up)', async () => {
    const one = (x: number) => ({ weight: tf.tensor2d([[x]]) })
    const found = await values(
      gatedMlp(tf.tensor2d([[3]]), { gate_proj: one(2), up_proj: one(5), down_proj: one(0.1) }),
    )
    close(found, [0.1 * 15 * (6 / (1 + Math.exp(-6)))])
  })

  it('tokenLogProbs: log softmax at the given tokens', async () => {
    const logits = tf.log(
      tf.tensor2d([
        [1, 2, 1],
        [1, 1, 8],
      ]),
    )
    const ids = tf.tensor1d([1, 2], 'int32')
    close(await values(tokenLogProbs(logits, ids)), [Math.log(0.5), Math.log(0.8)])
    await checkGradient(x => tokenLogProbs(x, ids), noise(10, [2, 3]))
  })

  it('tokenLogProbs computes in float32 on bf16 logits; their gradient is bf16', async () => {
    const [half, ids] = [astype(noise(10, [2, 300]), 'bf16'), tf.tensor1d([7, 250], 'int32')]
    const found = tokenLogProbs(half, ids)
    assert.equal(typeOf(found), 'f32')
    close(await values(found), await values(tokenLogProbs(astype(half, 'f32'), ids)))
    assert.equal(typeOf(tf.grad((x: tf.Tensor) => tf.sum(tokenLogProbs(x, ids)))(half)), 'bf16')
  })
})
