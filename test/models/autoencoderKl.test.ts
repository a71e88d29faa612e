import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { Fields } from '../../src/io/json.js'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { autoencoderKl, autoencoderKlConfig } from '../../src/models/autoencoderKl.js'
import { loadForwardModel } from '../../src/models/forwardModel.js'
import { disposeTree, start, type TensorTree } from '../../src/xla/index.js'
import { checkGradient, noise } from '../nn/numbers.js'
import { fixture } from './fixture.js'
import { forwardParity } from './forwardParity.js'

const PARITY = 1e-5 // relative to the largest value; float32 against PyTorch's float32: other summation orders

describe('AutoencoderKL', () => {
  let expected: TensorSource
  before(async () => {
    await start()
    expected = await openSafetensors(fixture('autoencoder_kl_expected.safetensors'))
  })
  after(() => expected.close())

  const agrees = (dir: string, name: string) =>
    forwardParity(
      fixture(dir),
      expected,
      { sample: `${name}.sample`, latents: `${name}.latents` },
      { latent_mode: `${name}.mode`, sample: `${name}.decoded` },
      PARITY,
    )

  it('agrees with diffusers: as in FLUX', () => agrees('autoencoder_kl', 'flux'))
  it('agrees with diffusers: quant_conv, no attention, odd sizes', () => agrees('autoencoder_kl_quant', 'quant'))

  it('encodes or decodes alone; encode gives the log-variance, too', async () => {
    const { model, weights } = await loadForwardModel(fixture('autoencoder_kl'))
    const read = async (name: string) => tf.tensor(await expected.read(name), expected.tensors.get(name)!.shape)
    const sample = await read('flux.sample')
    const { encode } = autoencoderKl(FLUX)
    const { mean, logvar } = tf.tidy(() => encode(weights, sample))
    const reference = await read('flux.logvar')
    const apart = tf.tidy(() => tf.max(tf.abs(tf.sub(logvar, reference))))
    assert.ok((await apart.data())[0]! < PARITY * 10)
    const outputs = tf.tidy(() => model.forward(weights, { sample }))
    assert.deepEqual(Object.keys(outputs), ['latent_mode'])
    assert.throws(() => model.forward(weights, {}), /AutoencoderKL: nothing given, needed sample, latents or both/)
    disposeTree([weights, sample, mean, logvar, reference, apart, outputs] as TensorTree)
  })

  it('has the gradients that finite differences have, through the decoder', async () => {
    const { weights } = await loadForwardModel(fixture('autoencoder_kl'))
    const { decode } = autoencoderKl(FLUX)
    const latents = noise(41, [1, 4, 2, 2])
    await checkGradient(x => decode(weights, x), latents)
    disposeTree([weights, latents])
  })

  it('says which field asks for what is not supported', () => {
    const config = (change: object) => () => autoencoderKlConfig(new Fields({ ...FLUX, ...change }, 'config.json'))
    assert.throws(config({ act_fn: 'relu' }), /config\.json: act_fn is "relu", needed "silu"/)
    assert.throws(config({ down_block_types: ['DownEncoderBlock2D'] }), /down_block_types is .*, needed 3 times "Down/)
    assert.throws(config({ norm_num_groups: 5 }), /block_out_channels is \[8,12,16\], needed multiples of 5 groups/)
  })
})

const FLUX = {
  in_channels: 3,
  out_channels: 3,
  latent_channels: 4,
  block_out_channels: [8, 12, 16],
  layers_per_block: 1,
  norm_num_groups: 4,
  mid_block_add_attention: true,
  use_quant_conv: false,
  use_post_quant_conv: false,
  scaling_factor: 0.3611,
  shift_factor: 0.1159,
  down_block_types: Array<string>(3).fill('DownEncoderBlock2D'),
  up_block_types: Array<string>(3).fill('UpDecoderBlock2D'),
}
