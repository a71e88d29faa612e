import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import {
  conv2d,
  gatedMlp,
  gelu,
  geluTanh,
  groupNorm,
  layerNorm,
  linear,
  quickGelu,
  rmsNorm,
  rotaryAngles,
  rotaryLookup,
  rotate,
  silu,
  tokenLogProbs,
} from '../../src/nn/index.js'
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

  it('layerNorm: (x − mean) / √(variance + eps) · w + b', async () => {
    const affine = { weight: tf.tensor1d([1, 2]), bias: tf.tensor1d([10, 20]) }
    close(await values(layerNorm(tf.tensor2d([[1, 5]]), affine, 0)), [9, 22])
    close(await values(layerNorm(tf.tensor2d([[1, 5]]), {}, 12)), [-0.5, 0.5]) // variance 4, so √16 = 4
    await checkGradient(x => layerNorm(x, affine, 1e-5), tf.mul(noise(22, [3, 2]), 4))
  })

  it('groupNorm: statistics of neighbouring channels over all places', async () => {
    const [weight, bias] = [tf.tensor1d([1, 1, 1, 2]), tf.tensor1d([0, 0, 0, 5])]
    const x = tf.tensor4d([1, 1, 7, 9, 3, 3, 9, 7], [1, 1, 2, 4]) // means 2 and 8, deviations 1 and 1
    const found = await values(groupNorm(x, { weight, bias }, 2, 0))
    close(found, [-1, -1, -1, 7, 1, 1, 1, 3])
    await checkGradient(x => groupNorm(x, { weight, bias }, 2, 1e-5), noise(23, [2, 2, 2, 4]))
  })

  it('conv2d: cross-correlation with PyTorch’s filters, padded by sides', async () => {
    const x = tf.tensor4d([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 3, 3, 1])
    const weight = tf.tensor4d([1, 10, 100, 1000, 0, 0, 0, 1], [2, 1, 2, 2]) // two filters of 2 rows and 2 columns
    const bias = tf.tensor1d([0, 0.5])
    close(await values(conv2d(x, { weight, bias }, { stride: 2 })), [5421, 5.5])
    const padded = conv2d(x, { weight }, { stride: 2, padding: [0, 1] })
    close(await values(padded), [5421, 5, 603, 0, 87, 0, 9, 0])
    await checkGradient(w => conv2d(x, { weight: w, bias }, { padding: [1, 1] }), noise(24, [2, 1, 2, 2]))
    await checkGradient(x => conv2d(x, { weight, bias }, { stride: 2, padding: [0, 1] }), noise(25, [1, 4, 4, 1]))
  })

  it('activations: silu, gelu, its approximations', async () => {
    const x = tf.tensor1d([-1, 0, 2])
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
    close(await values(silu(x)), [-sigmoid(-1), 0, 2 * sigmoid(2)])
    close(await values(quickGelu(x)), [-sigmoid(-1.702), 0, 2 * sigmoid(3.404)])
    close(await values(gelu(x)), [-0.1586553, 0, 2 * 0.9772499]) // the normal distribution's table
    close(await values(geluTanh(x)), [-0.158808, 0, 1.9545977])
    for (const f of [silu, gelu, geluTanh, quickGelu]) await checkGradient(f, noise(26, [5]))
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
      layerNorm: layerNorm(x, { weight: half(tf.ones([8])), bias: half(tf.ones([8])) }, 1e-5),
      groupNorm: groupNorm(x, { weight: half(tf.ones([8])), bias: half(tf.ones([8])) }, 4, 1e-5),
      conv2d: conv2d(tf.reshape(x, [1, 2, 3, 8]), { weight: half(noise(16, [4, 8, 2, 2])), bias: half(tf.ones([4])) }),
      gelu: gelu(x),
      geluTanh: geluTanh(x),
      quickGelu: quickGelu(x),
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
