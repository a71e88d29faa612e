/* What estimateKontext says of working memory, beside what compiled programs of a middling transformer and decoder ask for. */
import * as tf from '@tensorflow/tfjs-core'
import { treeOf } from '../../src/io/checkpoint.js'
import { Fields } from '../../src/io/json.js'
import {
  autoencoderKl,
  autoencoderKlConfig,
  clipTextConfig,
  decodeLatents,
  estimateKontext,
  flowMatchEulerConfig,
  fluxTransformer,
  fluxTransformerConfig,
  initAdapter,
  kontextVelocity,
  t5Config,
  type ForwardModel,
} from '../../src/models/index.js'
import { overlay } from '../../src/policies/overlay.js'
import { jit, start, tensorsOf, withTensors, type TensorTree } from '../../src/xla/index.js'

const CLOSE = 0.1 // of the measured value
const [WIDTH, HEIGHT, TEXT] = [320, 384, 64]

await start({ backend: 'xla' })
const began = performance.now()
const fields = (json: object) => new Fields({ ...json }, 'config.json')
const types = (type: string) => Array<string>(4).fill(type)
const configs = {
  scheduler: flowMatchEulerConfig(fields({})),
  text_encoder: clipTextConfig(fields({})),
  text_encoder_2: t5Config(fields({})),
  transformer: fluxTransformerConfig(
    fields({
      num_layers: 2,
      num_single_layers: 20,
      num_attention_heads: 2,
      joint_attention_dim: 64,
      guidance_embeds: true,
    }),
  ),
  vae: autoencoderKlConfig(
    fields({
      block_out_channels: [32, 64, 128, 128],
      down_block_types: types('DownEncoderBlock2D'),
      up_block_types: types('UpDecoderBlock2D'),
      layers_per_block: 2,
      latent_channels: 16,
    }),
  ),
}
const flux = fluxTransformer(configs.transformer)
const vae = autoencoderKl(configs.vae)
const zeros = ({ parameters }: ForwardModel): TensorTree =>
  treeOf(parameters.map(p => [p.path, tf.zeros(p.name.includes('*') ? [p.layers!, ...p.shape] : p.shape)]))

const tokens = (WIDTH * HEIGHT) / 16 ** 2
const weights = zeros(flux)
const adapter = initAdapter(flux, { r: 4 }, 0)
const given = {
  latents: tf.zeros([1, tokens, 64]),
  reference: tf.zeros([1, tokens, 64]),
  ids: tf.zeros([2 * tokens, 3]),
  text: tf.zeros([1, TEXT, 64]),
  pooled: tf.zeros([1, 768]),
  guidance: tf.ones([1]),
}
type Trees = Record<'weights' | 'scaling' | 'adapter', TensorTree>
const velocity = ({ weights, scaling, adapter }: Trees, { latents, ...conditions }: typeof given) =>
  kontextVelocity(flux, overlay(overlay(weights, scaling), adapter), latents, tf.tensor1d([0.5]), conditions)
const step = jit((trees: Trees, x: typeof given) => tf.tidy(() => velocity(trees, x)))
const gradient = jit((trees: Trees, x: typeof given) =>
  tf.tidy(() => {
    const loss = (...leaves: tf.Tensor[]) =>
      tf.mean(tf.square(velocity({ ...trees, adapter: withTensors(trees.adapter, leaves) }, x)))
    return tf.grads(loss)(tensorsOf(trees.adapter))
  }),
)
const decode = jit((weights: TensorTree, x: tf.Tensor) => tf.tidy(() => decodeLatents({ model: vae, weights }, x)))

const trees = { weights, scaling: adapter.scaling, adapter: adapter.weights }
const size = { width: WIDTH, height: HEIGHT, max_sequence_length: TEXT, dtype: 'float32', adapter: { r: 4 } } as const
const said = estimateKontext(configs, size)
const measured = {
  denoising: step.memory(trees, given).temporary,
  gradient: gradient.memory(trees, given).temporary,
  decoding: decode.memory(zeros(vae), tf.zeros([1, 16, HEIGHT / 8, WIDTH / 8])).temporary,
}
const parts = Object.entries(measured).map(([name, bytes]) => {
  const ratio = said[name as keyof typeof measured] / bytes
  if (Math.abs(ratio - 1) > CLOSE) process.exitCode = 1
  return `${name} ${(bytes / 1e6).toFixed(0)} MB, estimated ${ratio.toFixed(2)} of it`
})
console.log(`kontextMemory: ${parts.join('; ')}; ${((performance.now() - began) / 1000).toFixed(0)} s`)
