import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import {
  attention,
  causalMask,
  gatedMlp,
  linear,
  rmsNorm,
  rotaryAngles,
  rotate,
  tokenLogProbs,
  visibility,
} from '../../src/nn/index.js'
import { jit, start } from '../../src/xla/index.js'

const CLOSE = 1e-5 // float32 rounding over a handful of operations
const SLOPE = 2e-2 // relative; finite differences in float32

const values = async (t: tf.Tensor): Promise<number[]> => Array.from(await t.data())
const close = (found: number[], expected: number[], tolerance = CLOSE) => {
  assert.equal(found.length, expected.length)
  found.forEach((x, i) => assert.ok(Math.abs(x - expected[i]!) < tolerance, `${i}: ${x}, needed ${expected[i]}`))
}
const noise = (seed: number, shape: number[]) => {
  const size = shape.reduce((n, d) => n * d, 1)
  return tf.tensor(
    Array.from({ length: size }, (_, i) => 1.5 * Math.sin(12.9898 * seed + 78.233 * i)),
    shape,
  )
}

/** Asserts that the gradient of Σ f(x)·weights agrees with central differences along a random direction. */
async function checkGradient(f: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor): Promise<void> {
  const h = 1e-2
  const both = jit((x: tf.Tensor) => {
    const y = f(x)
    const weights = noise(91, y.shape)
    const direction = noise(92, x.shape)
    const total = (x: tf.Tensor) => tf.sum<tf.Scalar>(tf.mul(f(x), weights))
    const along = (by: number) => total(tf.add(x, tf.mul(direction, by)))
    const slope = tf.sum<tf.Scalar>(tf.mul(tf.grad(total)(x), direction))
    return tf.stack([slope, tf.div(tf.sub(along(h), along(-h)), 2 * h)])
  })
  const [slope, difference] = (await values(await both.async(x))) as [number, number]
  assert.ok(
    Math.abs(slope - difference) < SLOPE * Math.max(1, Math.abs(slope)),
    `${slope}, by differences ${difference}`,
  )
}

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

  it('attention: softmax of scaled products, two query heads to a key head', async () => {
    // One key head of size 1, two query heads; the second query sees both keys.
    const q = tf.tensor4d([0, 0, 1, -1], [1, 2, 2, 1])
    const k = tf.tensor4d([0, 2], [1, 1, 2, 1])
    const v = tf.tensor4d([10, 20], [1, 1, 2, 1])
    const see = visibility(causalMask(tf.ones([1, 2])))
    const second = (x: number) => (10 + 20 * Math.exp(2 * x)) / (1 + Math.exp(2 * x))
    close(await values(attention(q, k, v, see)), [10, 10, second(1), second(-1)], 1e-4)
    await checkGradient(x => attention(x, k, v, see), noise(11, [1, 2, 2, 1]))
    await checkGradient(x => attention(q, x, v, see), noise(6, [1, 1, 2, 1]))
    await checkGradient(x => attention(q, k, x, see), noise(7, [1, 1, 2, 1]))
  })

  it('attention: a query that sees nothing gives 0', async () => {
    const [q, kv] = [noise(8, [1, 3, 2, 4]), noise(9, [1, 2, 3, 4])]
    const padded = attention(q, kv, kv, visibility(causalMask(tf.tensor2d([[0, 1, 1]]))))
    const found = await values(padded)
    assert.deepEqual(found.slice(0, 8), Array<number>(8).fill(0))
    close(found.slice(8, 16), [...(await values(kv)).slice(4, 8), ...(await values(kv)).slice(16, 20)]) // sees itself alone
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
})
