import assert from 'node:assert/strict'
import { Fields } from '../../src/io/json.js'
import {
  autoencoderKlConfig,
  clipTextConfig,
  estimateKontext,
  flowMatchEulerConfig,
  fluxTransformerConfig,
  kontextPlans,
  t5Config,
  type KontextConfigs,
} from '../../src/models/index.js'

const GIB = 2 ** 30
const levels = (type: string) => Array<string>(4).fill(type)
const fields = (json: object) => new Fields({ ...json }, 'config.json')

/** The sizes of FLUX.1 Kontext [dev]. */
const REAL: KontextConfigs = {
  scheduler: flowMatchEulerConfig(fields({ use_dynamic_shifting: true })),
  transformer: fluxTransformerConfig(fields({ guidance_embeds: true })),
  text_encoder: clipTextConfig(fields({ hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 })),
  text_encoder_2: t5Config(
    fields({ d_model: 4096, d_ff: 10240, num_heads: 64, num_layers: 24, feed_forward_proj: 'gated-gelu' }),
  ),
  vae: autoencoderKlConfig(
    fields({
      block_out_channels: [128, 256, 512, 512],
      down_block_types: levels('DownEncoderBlock2D'),
      up_block_types: levels('UpDecoderBlock2D'),
      layers_per_block: 2,
      latent_channels: 16,
      use_quant_conv: false,
      use_post_quant_conv: false,
    }),
  ),
}

describe('estimateKontext', () => {
  it('counts the weights that PyTorch counts in the real models and in an adapter of rank 64', () => {
    const found = estimateKontext(REAL)
    assert.equal(found.transformer, 2 * 11_901_408_320)
    assert.equal(found.text_encoders, 2 * (123_060_480 + 4_762_310_656))
    assert.equal(found.vae, 2 * 83_819_683)
    assert.equal(found.adapter, 16 * 216_662_016)
    assert.equal(estimateKontext(REAL, { dtype: 'float32' }).transformer, 4 * 11_901_408_320)
  })

  it('keeps about half a byte an entry of matrices in 4 bits', () => {
    const [half, four] = [estimateKontext(REAL), estimateKontext(REAL, { quantization: 'nf4' })]
    const ratio = four.transformer / half.transformer
    assert.ok(ratio > 0.25 && ratio < 0.27, `${ratio}`)
  })

  it('finds plans that need less and less, and grows with rows and pixels', () => {
    const plans = kontextPlans(REAL)
    const peaks = plans.map(({ estimate }) => estimate.training)
    for (const [i, peak] of peaks.slice(1).entries()) assert.ok(peak <= peaks[i]!, `${peaks.join(', ')}`)
    assert.ok(peaks[0]! > 40 * GIB && peaks.at(-1)! < 24 * GIB, `${peaks.map(p => p / GIB).join(', ')}`)
    const [one, two] = [estimateKontext(REAL), estimateKontext(REAL, { batch_size: 2 })]
    assert.equal(two.gradient, 2 * one.gradient)
    const small = estimateKontext(REAL, { width: 512, height: 512 })
    assert.equal(small.decoding, one.decoding / 4)
    assert.ok(small.gradient < one.gradient / 3)
  })

  it('refuses what it does not know', () => {
    assert.throws(() => estimateKontext(REAL, { rank: 4 } as object), /unknown key "rank"/)
    assert.throws(() => estimateKontext(REAL, { width: 0 }), /width is 0, needs a whole number of at least 1/)
    assert.throws(
      () => estimateKontext(REAL, { adapter: { target_modules: ['query'] } }),
      /\["query"\] match no linear/,
    )
  })
})
