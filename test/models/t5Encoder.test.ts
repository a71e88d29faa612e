import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { loadForwardModel } from '../../src/models/forwardModel.js'
import { relativePositionBucket } from '../../src/models/t5Encoder.js'
import { disposeTree, start, typeOf } from '../../src/xla/index.js'
import { fixture } from './fixture.js'
import { forwardParity } from './forwardParity.js'

const PARITY = 1e-5 // relative to the largest value; float32 against PyTorch's float32: other summation orders
/** How much larger our rounding errors in bfloat16 may be than those of transformers: other orders, root mean squares. */
const NOISE = 1.25

describe('T5EncoderModel', () => {
  let expected: TensorSource
  before(async () => {
    await start()
    expected = await openSafetensors(fixture('t5_expected.safetensors'))
  })
  after(() => expected.close())

  const masked = { input_ids: 'input_ids', attention_mask: 'attention_mask' }
  const agrees = (dir: string, inputs: Record<string, string>, last_hidden_state: string) =>
    forwardParity(fixture(dir), expected, inputs, { last_hidden_state }, PARITY)

  it('agrees with transformers, gated-gelu (1.1), with and without a mask', async () => {
    await agrees('t5', masked, 'gated.masked')
    await agrees('t5', { input_ids: 'input_ids' }, 'gated')
  })
  it('agrees with transformers, relu (1.0)', () => agrees('t5_relu', masked, 'relu.masked'))

  it('in bfloat16 is as near to float32 as transformers in bfloat16', async () => {
    const { model, weights } = await loadForwardModel(fixture('t5'), { dtype: 'bfloat16' })
    const tensor = async (name: string) =>
      tf.tensor(await expected.read(name), expected.tensors.get(name)!.shape, 'int32')
    const inputs = { input_ids: await tensor('input_ids'), attention_mask: await tensor('attention_mask') }
    const found = tf.tidy(() => model.forward(weights, inputs))['last_hidden_state']!
    assert.equal(typeOf(found), 'bf16')
    const exact = (await expected.read('gated.masked')) as Float32Array
    const apart = (a: ArrayLike<number>) => Math.sqrt(exact.reduce((sum, x, i) => sum + (x - a[i]!) ** 2, 0))
    const [ours, theirs] = [apart(await found.data()), apart(await expected.read('gated.masked.bf16'))]
    assert.ok(ours < NOISE * theirs && ours > theirs / 10, `${ours} from float32, transformers ${theirs}`)
    disposeTree([weights, inputs, found])
  })

  it('sorts distances into the same buckets', async () => {
    const names = [...expected.tensors.keys()].filter(name => name.startsWith('buckets.'))
    assert.equal(names.length, 3)
    for (const name of names) {
      const [buckets, distance] = name.split('.').slice(1).map(Number) as [number, number]
      const config = { relative_attention_num_buckets: buckets, relative_attention_max_distance: distance }
      const found = Array.from({ length: 1201 }, (_, i) => relativePositionBucket(i - 600, config))
      assert.deepEqual(found, Array.from(await expected.read(name)), name)
    }
  })
})
