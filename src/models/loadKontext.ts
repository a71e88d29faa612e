import { existsSync } from 'node:fs'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { modelDirectory } from '../io/hub.js'
import { readFields } from '../io/json.js'
import { loadTokenizer, paddedIds, type Tokenizer } from '../io/tokenizer.js'
import { disposeTree, jit, type TensorTree } from '../xla/index.js'
import { autoencoderKl, autoencoderKlConfig, type AutoencoderKl, type AutoencoderKlConfig } from './autoencoderKl.js'
import type { ModelOptions } from './causalModel.js'
import { clipText, clipTextConfig, type ClipTextConfig } from './clip.js'
import { flowMatchEulerConfig, type FlowMatchEulerConfig } from './flowMatchEulerConfig.js'
import { fluxTransformer, fluxTransformerConfig, type FluxTransformerConfig } from './fluxTransformer.js'
import { loadForwardWeights, type ForwardModel, type Loaded, type LoadOptions } from './forwardModel.js'
import { decodeLatents, encodeImages } from './kontext.js'
import { t5Config, t5Encoder, type T5Config } from './t5Encoder.js'
import { tiledAutoencoder } from './tiledAutoencoder.js'

/** A pipeline that edits images: its parts, and the programs around the transformer. */
export interface Kontext {
  readonly dir: string
  readonly transformer: Loaded
  readonly vae: Loaded<AutoencoderKl>
  readonly scheduler: FlowMatchEulerConfig
  /** Pixels along a side of a token: sides of images are multiples of it. */
  readonly tokenSide: number
  /** What the transformer sees of instructions.
   * @param max_sequence_length tokens of T5 a row, by default as many as its tokenizer names, at most 512; longer texts are cut, as
   *   CLIP's are at its own limit
   * @throws Error after `forgetText` */
  textFeatures(prompts: readonly string[], max_sequence_length?: number | null): Promise<TextFeatures>
  /** Frees the text encoders, most of the memory after the transformer: features that are kept do not need them. */
  forgetText(): void
  /** {@link encodeImages} and {@link decodeLatents} as programs. */
  encode(images: tf.Tensor): Promise<tf.Tensor>
  decode(latents: tf.Tensor): Promise<tf.Tensor>
  /** Frees all weights. */
  dispose(): void
}

export type TextFeatures = {
  /** [B, T, joint_attention_dim], of T5; padding is a token like others */
  text: tf.Tensor
  /** [B, pooled_projection_dim], of CLIP */
  pooled: tf.Tensor
}

export interface KontextOptions extends ModelOptions, Pick<LoadOptions, 'dtype'> {
  /** `nf4`: the matrices of the transformer's blocks are kept in 4 bits an entry. Default null. */
  quantization?: 'nf4' | null
  /** Side in pixels of the tiles that the autoencoder works on: less memory for large images, see {@link tiledAutoencoder}. Default null:
   * whole images. */
  vae_tile?: number | null
}

/** Folders of a pipeline and the classes that they may be of. */
const PARTS = {
  scheduler: ['FlowMatchEulerDiscreteScheduler'],
  text_encoder: ['CLIPTextModel'],
  text_encoder_2: ['T5EncoderModel'],
  tokenizer: ['CLIPTokenizer', 'CLIPTokenizerFast'],
  tokenizer_2: ['T5TokenizerFast', 'T5Tokenizer'],
  transformer: ['FluxTransformer2DModel'],
  vae: ['AutoencoderKL'],
}

/** What the configurations of a pipeline's parts say. */
export interface KontextConfigs {
  scheduler: FlowMatchEulerConfig
  text_encoder: ClipTextConfig
  text_encoder_2: T5Config
  transformer: FluxTransformerConfig
  vae: AutoencoderKlConfig
}

/** Reads the configurations of a directory of a FluxKontextPipeline, and checks that they go together.
 * @throws Error naming all parts that are missing or of another class, or the field that does not fit */
export async function kontextConfigs(dir: string): Promise<KontextConfigs> {
  await checkParts(dir)
  const fields = (part: keyof typeof PARTS, file = 'config.json') => readFields(join(dir, part, file))
  const ofTransformer = await fields('transformer')
  const configs: KontextConfigs = {
    scheduler: flowMatchEulerConfig(await fields('scheduler', 'scheduler_config.json')),
    text_encoder: clipTextConfig(await fields('text_encoder')),
    text_encoder_2: t5Config(await fields('text_encoder_2')),
    transformer: fluxTransformerConfig(ofTransformer),
    vae: autoencoderKlConfig(await fields('vae')),
  }
  const { text_encoder, text_encoder_2, transformer, vae } = configs
  const needed = {
    in_channels: [4 * vae.latent_channels, '4 times latent_channels of vae'],
    pooled_projection_dim: [text_encoder.hidden_size, 'hidden_size of text_encoder'],
    joint_attention_dim: [text_encoder_2.d_model, 'd_model of text_encoder_2'],
  } as const
  for (const [name, [value, why]] of Object.entries(needed))
    if (transformer[name as keyof typeof needed] !== value) ofTransformer.fail(name, `${value}, ${why}`)
  return configs
}

/** Reads a FluxKontextPipeline as diffusers saves it.
 * @param name a directory, or an id of the Hugging Face hub
 * @throws Error naming all parts that are missing or of another class, or what in a part does not fit */
export async function loadKontext(name: string, options: KontextOptions = {}): Promise<Kontext> {
  const dir = await modelDirectory(name)
  const { dtype, quantization, gradient_checkpointing, vae_tile } = options
  const configs = await kontextConfigs(dir)
  const whole = autoencoderKl(configs.vae)
  const autoencoder = vae_tile ? tiledAutoencoder(whole, vae_tile) : whole
  const tokenizers = {
    clip: await loadTokenizer(join(dir, 'tokenizer')),
    t5: await loadTokenizer(join(dir, 'tokenizer_2')),
  }
  const loaded: TensorTree[] = []
  async function load<M extends ForwardModel>(part: string, model: M, options: LoadOptions): Promise<Loaded<M>> {
    const weights = await loadForwardWeights(join(dir, part), model, options)
    loaded.push(weights)
    return { model, weights }
  }
  try {
    const clip = await load('text_encoder', clipText(configs.text_encoder), { dtype })
    const t5 = await load('text_encoder_2', t5Encoder(configs.text_encoder_2), { dtype })
    const vae = await load('vae', autoencoder, { dtype })
    const flux = fluxTransformer(configs.transformer, { gradient_checkpointing })
    const transformer = await load('transformer', flux, { dtype, quantization })
    const text = textEncoders({ clip, t5 }, tokenizers, configs.text_encoder.max_position_embeddings)
    const encode = jit((weights: TensorTree, x: tf.Tensor) => tf.tidy(() => encodeImages({ ...vae, weights }, x)))
    const decode = jit((weights: TensorTree, x: tf.Tensor) => tf.tidy(() => decodeLatents({ ...vae, weights }, x)))
    return {
      dir,
      transformer,
      vae,
      scheduler: configs.scheduler,
      tokenSide: 2 * 2 ** (configs.vae.block_out_channels.length - 1),
      ...text,
      encode: images => encode.async(vae.weights, images),
      decode: latents => decode.async(vae.weights, latents),
      dispose() {
        text.forgetText()
        disposeTree([transformer.weights, vae.weights])
      },
    }
  } catch (error) {
    disposeTree(loaded)
    throw error
  }
}

/** As diffusers' default. */
const MOST_T5_TOKENS = 512

function textEncoders(
  { clip, t5 }: Record<'clip' | 't5', Loaded>,
  tokenizers: Record<'clip' | 't5', Tokenizer>,
  clipLength: number,
): Pick<Kontext, 'textFeatures' | 'forgetText'> {
  let forgotten = false
  const t5Length = Math.min(tokenizers.t5.model_max_length ?? MOST_T5_TOKENS, MOST_T5_TOKENS)
  const encode = jit((clipWeights: TensorTree, t5Weights: TensorTree, clipIds: tf.Tensor, t5Ids: tf.Tensor) =>
    tf.tidy(() => ({
      text: t5.model.forward(t5Weights, { input_ids: t5Ids })['last_hidden_state']!,
      pooled: clip.model.forward(clipWeights, { input_ids: clipIds })['pooler_output']!,
    })),
  )
  return {
    async textFeatures(prompts, max_sequence_length) {
      if (forgotten) throw new Error('textFeatures: the text encoders were forgotten. Load the pipeline again.')
      const ids = (tokenizer: Tokenizer, length: number) =>
        tf.tensor2d(prompts.map(prompt => paddedIds(tokenizer, prompt, length)), [prompts.length, length], 'int32') // prettier-ignore
      const [a, b] = [ids(tokenizers.clip, clipLength), ids(tokenizers.t5, max_sequence_length ?? t5Length)]
      const features = await encode.async(clip.weights, t5.weights, a, b)
      disposeTree([a, b])
      return features
    },
    forgetText() {
      if (!forgotten) disposeTree([clip.weights, t5.weights])
      forgotten = true
    },
  }
}

/** @throws Error naming all parts that are missing or of another class */
async function checkParts(dir: string): Promise<void> {
  const index = await readFields(join(dir, 'model_index.json'))
  index.only('_class_name', 'FluxKontextPipeline')
  const problems = Object.entries(PARTS).flatMap(([part, classes]) => {
    const found = (index.get(part) as unknown[] | undefined)?.[1]
    const needed = classes.join(' or ')
    if (typeof found !== 'string') return [`model_index.json names no ${part}, needed ${needed}`]
    if (!classes.includes(found)) return [`${part} is ${found}, needed ${needed}`]
    return existsSync(join(dir, part)) ? [] : [`the folder ${part} (${found}) is missing`]
  })
  if (problems.length > 0) throw new Error(`${dir}: ${problems.join('; ')}. Fetch the whole pipeline.`)
}
