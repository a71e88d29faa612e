import { requireWhole, resolveConfig } from '../config.js'
import type { Parameter, WeightType } from '../io/checkpoint.js'
import { autoencoderKl } from './autoencoderKl.js'
import { clipText } from './clip.js'
import { fluxTransformer } from './fluxTransformer.js'
import { layerMatrix } from './loadCausalModel.js'
import type { KontextConfigs } from './loadKontext.js'
import { adapterSize, type LoraConfig } from './lora.js'
import { t5Encoder } from './t5Encoder.js'

/** How a pipeline shall run, for {@link estimateKontext}. */
export interface EstimateOptions {
  /** Of weights and computation. Default bfloat16. */
  dtype: WeightType
  /** Of the matrices of the transformer's blocks. Default null. */
  quantization: 'nf4' | null
  /** What is trained, in float32. Default rank 64 on the projections of attention and MLP. */
  adapter: Partial<LoraConfig>
  /** Rows at a time; while training, pictures times denoising steps. Default 1. */
  batch_size: number
  /** Of target and reference, in pixels. Default 1024. */
  width: number
  height: number
  /** Tokens of T5. Default 512. */
  max_sequence_length: number
  /** Whether the text encoders are freed once the features of all prompts are there. Default false. */
  cached_text: boolean
  /** Side of the autoencoder's tiles in pixels. Default null: whole images. */
  vae_tile: number | null
}

const DEFAULTS: EstimateOptions = {
  dtype: 'bfloat16',
  quantization: null,
  adapter: { r: 64 },
  batch_size: 1,
  width: 1024,
  height: 1024,
  max_sequence_length: 512,
  cached_text: false,
  vae_tile: null,
}

/** Bytes on a device. */
export interface KontextEstimate {
  /** Weights. */
  transformer: number
  text_encoders: number
  vae: number
  /** The adapter, its gradients, and AdamW's two moments. */
  adapter: number
  /** What a denoising step, a training step with gradient checkpointing, and the decoder compute with. */
  denoising: number
  gradient: number
  decoding: number
  /** The most at a time. */
  editing: number
  training: number
}

/** Values that a program keeps at a time: of the transformer, in units of one [B, S, C] for its S tokens; of the decoder, of one [B, H, W, C]
 * with C the width of its last level. Gradient checkpointing adds one a block. Measured by `memory()` of compiled programs on the CPU
 * plugin in float32, see docs/kontext.md. */
const DENOISING = 23
const GRADIENT = { double: 50, single: 33 }
const DECODING = 6.1

/** What FLUX.1 Kontext needs on a device, computed before anything is loaded. Working memory but for the kept inputs of blocks counts as
 * float32 whatever the type. What the runtime takes for itself is not in it.
 * @throws Error for unknown options */
export function estimateKontext(configs: KontextConfigs, given: Partial<EstimateOptions> = {}): KontextEstimate {
  const o = resolveConfig<EstimateOptions>('estimateKontext', DEFAULTS, given)
  for (const name of ['batch_size', 'width', 'height', 'max_sequence_length'] as const)
    requireWhole('estimateKontext', name, o[name], 1)
  const { transformer: flux, vae } = configs
  const size = o.dtype === 'bfloat16' ? 2 : 4
  const model = fluxTransformer(flux)
  const bytesOf = (parameters: readonly Parameter[], quantized = false) =>
    parameters.reduce((sum, p) => sum + weightsOf(p) * (quantized && layerMatrix(p) ? NF4 : size), 0)

  const factor = 2 ** (vae.block_out_channels.length - 1)
  const tokens = o.max_sequence_length + 2 * ((o.width * o.height) / (2 * factor) ** 2)
  const width = flux.num_attention_heads * flux.attention_head_dim
  const values = o.batch_size * tokens * width
  const restored = o.quantization ? 5 * width ** 2 * size : 0
  const pixels = o.vae_tile ? Math.min(o.vae_tile, o.width) * Math.min(o.vae_tile, o.height) : o.width * o.height

  const transformer = bytesOf(model.parameters, o.quantization !== null)
  const texts = [clipText(configs.text_encoder), t5Encoder(configs.text_encoder_2)]
  const text_encoders = texts.reduce((sum, { parameters }) => sum + bytesOf(parameters), 0)
  const autoencoder = bytesOf(autoencoderKl(vae).parameters)
  const adapter = 4 * 4 * adapterSize(model, o.adapter)
  const denoising = DENOISING * values * 4 + restored
  const { num_layers, num_single_layers } = flux // of the backward pass, the single blocks come first, while all inputs are kept
  const gradient =
    restored +
    values *
      Math.max(4 * GRADIENT.single + size * (num_layers + num_single_layers), 4 * GRADIENT.double + size * num_layers)
  const decoding = DECODING * o.batch_size * pixels * vae.block_out_channels[0]! * 4
  const loaded = transformer + autoencoder + text_encoders // before the text encoders are freed
  const resident = transformer + autoencoder + (o.cached_text ? 0 : text_encoders)
  return {
    transformer,
    text_encoders,
    vae: autoencoder,
    adapter,
    denoising,
    gradient,
    decoding,
    editing: Math.max(loaded, resident + Math.max(denoising, decoding)),
    training: Math.max(loaded, resident + adapter + Math.max(gradient, decoding)),
  }
}

/** Bytes an entry of a matrix in 4 bits, with its scales. */
const NF4 = 1 / 2 + 1 / 64 + 4 / (64 * 256)

const weightsOf = ({ shape, layers = 1, name }: Parameter): number =>
  shape.reduce((product, n) => product * n, name.includes('*') ? layers : 1)

/** Ways to need less memory, each with those before it. */
const SAVINGS: readonly [name: string, change: Partial<EstimateOptions>][] = [
  ['all parts at once', {}],
  ['features of the text cached, its encoders freed', { cached_text: true }],
  ['and the autoencoder in tiles of 512 pixels', { vae_tile: 512 }],
  ["and the transformer's blocks in 4 bits", { quantization: 'nf4' }],
]

/** Estimates of ways to run that need less and less memory. */
export function kontextPlans(
  configs: KontextConfigs,
  given: Partial<EstimateOptions> = {},
): { plan: string; options: Partial<EstimateOptions>; estimate: KontextEstimate }[] {
  let options = given
  return SAVINGS.map(([plan, change]) => {
    options = { ...options, ...change }
    return { plan, options, estimate: estimateKontext(configs, options) }
  })
}
