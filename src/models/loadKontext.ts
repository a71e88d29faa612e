import { existsSync } from 'node:fs'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { readFields, type Fields } from '../io/json.js'
import { loadTokenizer, paddedIds, type Tokenizer } from '../io/tokenizer.js'
import { disposeTree, jit, type TensorTree } from '../xla/index.js'
import { autoencoderKl, autoencoderKlConfig, type AutoencoderKl } from './autoencoderKl.js'
import type { ModelOptions } from './causalModel.js'
import { clipText, clipTextConfig } from './clip.js'
import { flowMatchEulerConfig, type FlowMatchEulerConfig } from './flowMatchEulerConfig.js'
import { fluxTransformer, fluxTransformerConfig } from './fluxTransformer.js'
import { loadForwardWeights, type ForwardModel, type Loaded, type LoadOptions } from './forwardModel.js'
import { decodeLatents, encodeImages } from './kontext.js'
import { t5Config, t5Encoder } from './t5Encoder.js'

/** A pipeline that edits images: its parts, and the programs around the transformer. */
export interface Kontext {
  readonly dir: string
  readonly transformer: Loaded
  readonly vae: Loaded<AutoencoderKl>
  readonly scheduler: FlowMatchEulerConfig
  /** Pixels along a side of a token: sides of images are multiples of it. */
  readonly tokenSide: number
  /** What the transformer sees of instructions.
   * @param max_sequence_length tokens of T5 a row; longer texts are cut, as CLIP's are at its own limit
   * @throws Error after `forgetText` */
  textFeatures(prompts: readonly string[], max_sequence_length?: number): Promise<TextFeatures>
  /** Frees the text encoders, most of the memory after the transformer: features that are kept do not need them. */
  forgetText(): void
  /** {@link encodeImages} and {@link decodeLatents} as programs. */
  encode(images: tf.Tensor): Promise<tf.Tensor>
  decode(latents: tf.Tensor): Promise<tf.Tensor>
  /** Frees all weights. */
  dispose(): void
}

export interface TextFeatures {
  /** [B, T, joint_attention_dim], of T5; padding is a token like others */
  text: tf.Tensor
  /** [B, pooled_projection_dim], of CLIP */
  pooled: tf.Tensor
}

export interface KontextOptions extends ModelOptions, Pick<LoadOptions, 'dtype'> {
  /** `nf4`: the matrices of the transformer's blocks are kept in 4 bits an entry. Default null. */
  quantization?: 'nf4' | null
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

/** Reads a directory of a FluxKontextPipeline as diffusers saves it.
 * @throws Error naming all parts that are missing or of another class, or what in a part does not fit */
export async function loadKontext(dir: string, options: KontextOptions = {}): Promise<Kontext> {
  await checkParts(dir)
  const fields = (part: keyof typeof PARTS, file = 'config.json') => readFields(join(dir, part, file))
  const scheduler = flowMatchEulerConfig(await fields('scheduler', 'scheduler_config.json'))
  const [ofTransformer, ofVae, ofClip, ofT5] = (await Promise.all(
    (['transformer', 'vae', 'text_encoder', 'text_encoder_2'] as const).map(part => fields(part)),
  )) as [Fields, Fields, Fields, Fields]
  const flux = fluxTransformerConfig(ofTransformer)
  const vaeConfig = autoencoderKlConfig(ofVae)
  const clipConfig = clipTextConfig(ofClip)
  const t5 = t5Config(ofT5)
  const agree = (name: string, value: number, needed: number, why: string) =>
    value === needed || ofTransformer.fail(name, `${needed}, ${why}`)
  agree('in_channels', flux.in_channels, 4 * vaeConfig.latent_channels, '4 times latent_channels of vae')
  agree('pooled_projection_dim', flux.pooled_projection_dim, clipConfig.hidden_size, 'hidden_size of text_encoder')
  agree('joint_attention_dim', flux.joint_attention_dim, t5.d_model, 'd_model of text_encoder_2')

  const tokenizers = [
    await loadTokenizer(join(dir, 'tokenizer')),
    await loadTokenizer(join(dir, 'tokenizer_2')),
  ] as const
  const loaded: Loaded[] = []
  const load = async <M extends ForwardModel>(part: string, fields: Fields, model: M, options: LoadOptions) => {
    const weights = await loadForwardWeights(join(dir, part), fields, model, options)
    loaded.push({ model, weights })
    return { model, weights }
  }
  const { dtype, quantization, gradient_checkpointing } = options
  try {
    const clip = await load('text_encoder', ofClip, clipText(clipConfig), { dtype })
    const t5Part = await load('text_encoder_2', ofT5, t5Encoder(t5), { dtype })
    const vae = await load('vae', ofVae, autoencoderKl(vaeConfig), { dtype })
    const model = fluxTransformer(flux, { gradient_checkpointing })
    const transformer = await load('transformer', ofTransformer, model, { dtype, quantization })
    const text = textEncoders(clip, t5Part, tokenizers, clipConfig.max_position_embeddings)
    const encode = jit((weights: TensorTree, x: tf.Tensor) => tf.tidy(() => encodeImages({ ...vae, weights }, x)))
    const decode = jit((weights: TensorTree, x: tf.Tensor) => tf.tidy(() => decodeLatents({ ...vae, weights }, x)))
    return {
      dir,
      transformer,
      vae,
      scheduler,
      tokenSide: 2 * 2 ** (vaeConfig.block_out_channels.length - 1),
      ...text,
      encode: images => encode.async(vae.weights, images),
      decode: latents => decode.async(vae.weights, latents),
      dispose() {
        text.forgetText()
        disposeTree([transformer.weights, vae.weights])
      },
    }
  } catch (error) {
    disposeTree(loaded.map(part => part.weights))
    throw error
  }
}

function textEncoders(
  clip: Loaded,
  t5: Loaded,
  [clipTokenizer, t5Tokenizer]: readonly [Tokenizer, Tokenizer],
  clipLength: number,
): Pick<Kontext, 'textFeatures' | 'forgetText'> {
  let forgotten = false
  const encode = jit((clipWeights: TensorTree, t5Weights: TensorTree, clipIds: tf.Tensor, t5Ids: tf.Tensor) =>
    tf.tidy(() => ({
      text: t5.model.forward(t5Weights, { input_ids: t5Ids })['last_hidden_state']!,
      pooled: clip.model.forward(clipWeights, { input_ids: clipIds })['pooler_output']!,
    })),
  )
  return {
    async textFeatures(prompts, max_sequence_length = 512) {
      if (forgotten) throw new Error('textFeatures: the text encoders were forgotten. Load the pipeline again.')
      const ids = (tokenizer: Tokenizer, length: number) =>
        tf.tensor2d(prompts.map(prompt => paddedIds(tokenizer, prompt, length)), [prompts.length, length], 'int32') // prettier-ignore
      const [a, b] = [ids(clipTokenizer, clipLength), ids(t5Tokenizer, max_sequence_length)]
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
    if (!classes.includes(found)) return [`${part} is a ${found}, needed ${needed}`]
    return existsSync(join(dir, part)) ? [] : [`the folder ${part} is missing, needed a ${found}`]
  })
  if (problems.length > 0) throw new Error(`${dir}: ${problems.join('; ')}. Fetch the whole pipeline.`)
}
