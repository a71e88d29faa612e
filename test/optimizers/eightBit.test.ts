import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { adamw, adamwState, sft, type TrainState } from '../../src/optimizers/index.js'
import type { Policy, Weights } from '../../src/policies/policy.js'
import { quantizeMoments, quantizeZeros, restoreMoments } from '../../src/optimizers/eightBit.js'
import { dynamicMap } from '../../src/xla/nf4.js'
import { jit, start, tensorsOf, typeOf, type TensorTree } from '../../src/xla/index.js'

const [STEPS, ROWS, COLUMNS] = [10, 24, 200]
const options = {
  learning_rate: 0.01,
  adam_beta1: 0.9,
  adam_beta2: 0.95,
  adam_epsilon: 1e-8,
  weight_decay: 0.1,
  max_grad_norm: 0,
}

/** Moments differ in the last digit of float32; where one lies between two levels, it may take the other one. */
const OTHER_LEVEL = 0.002 // share of the entries
/** float32 rounding over ten steps. */
const TOLERANCE = 2e-6

const entries = (step: number) =>
  tf.tensor2d(
    Array.from(
      { length: ROWS * COLUMNS },
      (_, i) => (((i * 7919 + step * 104729) % 2027) - 1013) / (1024 * 4 ** (i % 4)),
    ),
    [ROWS, COLUMNS],
  )

/** What the toy below learns. */
const entries64 = () => tf.reshape(tf.slice(tf.reshape(entries(1), [-1]), [0], [4096]), [64, 64])

describe('eightBit', () => {
  let expected: TensorSource
  before(async () => {
    await start()
    expected = await openSafetensors('test/fixtures/optimizers/adamw_8bit.safetensors')
  })
  after(() => expected.close())

  it("has bitsandbytes' maps, bit for bit", async () => {
    assert.deepEqual(dynamicMap(true), await expected.read('m.map'))
    assert.deepEqual(dynamicMap(false), await expected.read('v.map'))
  })

  it('takes ten steps as bitsandbytes’ AdamW8bit does', async () => {
    const step = jit(
      (weights: { w: tf.Tensor }, grads: { w: tf.Tensor }, state: ReturnType<typeof quantizeMoments>) => {
        const { weights: w, state: s } = adamw(weights, grads, restoreMoments(state) as never, options)
        return { weights: w, state: quantizeMoments(s) }
      },
    )
    let weights = { w: entries(0) as tf.Tensor }
    let state = quantizeMoments(adamwState(weights))
    for (let i = 1; i <= STEPS; i++) ({ weights, state } = step(weights, { w: entries(i) }, state))

    const w = await expected.read('weight')
    weights.w.dataSync().forEach((x, i) => assert.ok(Math.abs(x - w[i]!) < TOLERANCE, `weight ${i}: ${x}, wanted ${w[i]}`)) // prettier-ignore
    for (const moment of ['m', 'v'] as const) {
      const { codes, absmax } = state[moment] as { codes: { w: tf.Tensor }; absmax: { w: tf.Tensor } }
      assert.equal(typeOf(codes.w), 'u8')
      const wanted = await expected.read(`${moment}.codes`)
      const other = Array.from(codes.w.dataSync()).filter((code, i) => code !== wanted[i])
      assert.ok(other.length <= OTHER_LEVEL * wanted.length, `${moment}: ${other.length} other codes`)
      const scales = await expected.read(`${moment}.absmax`)
      absmax.w.dataSync().forEach((x, i) => assert.ok(Math.abs(x / scales[i]! - 1) < 1e-5, `${moment}.absmax ${i}`))
    }
  })

  it('trains with them, and goes on from a state', async () => {
    const policy = () => ({
      weights: { trainable: { w: tf.zeros([64, 64]) }, frozen: {} },
      reference: { trainable: {}, frozen: {} },
      encode: (prompts: readonly unknown[]) => ({ x: tf.ones([prompts.length]) }),
      score: ({ trainable }: Weights, outputs: TensorTree) => {
        const distance = tf.sum(tf.squaredDifference((trainable as { w: tf.Tensor }).w, entries64()))
        const { x } = outputs as { x: tf.Tensor }
        return { score: tf.neg(tf.mul(x, distance)), length: x }
      },
    })
    const rows = [{ prompt: 0, completion: 0 }]
    const config = { optim: 'adamw_8bit', max_steps: 60, learning_rate: 0.05, per_device_train_batch_size: 1 } as const
    const make = (state?: TrainState) => sft(policy() as unknown as Policy, rows, config, state)
    const whole = await make().done()
    assert.ok((whole.rows.at(-1)!['loss'] as number) < 1e-3 * (whole.rows[0]!['loss'] as number))
    const first = make()
    for await (const { step } of first) if (step === 20) break
    assert.ok(tensorsOf(first.state.v).some(t => typeOf(t) === 'u8'))
    const second = await make(first.state).done()
    assert.deepEqual(second.rows.map(row => row['loss']), whole.rows.slice(20).map(row => row['loss'])) // prettier-ignore
  })

  it('knows what it makes of zeros', () => {
    const zeros = adamwState<TensorTree>({ w: entries(0), norm: tf.ones([64]) })
    const [made, known] = [quantizeMoments(zeros), quantizeZeros(zeros)].map(state => tensorsOf(state))
    assert.deepEqual(known!.map(t => [typeOf(t), t.shape, t.dataSync()]), made!.map(t => [typeOf(t), t.shape, t.dataSync()])) // prettier-ignore
  })

  it('keeps small tensors and embeddings in float32', () => {
    const weights = { embed_tokens: { weight: tf.ones([64, 64]) }, norm: tf.ones([64]), proj: tf.ones([64, 64]) }
    const { m } = quantizeMoments(adamwState<TensorTree>(weights))
    const { codes } = m as { codes: TensorTree }
    assert.deepEqual(tensorsOf(codes).map(typeOf), ['f32', 'f32', 'u8']) // prettier-ignore
  })
})
