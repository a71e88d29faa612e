/* What the scripts of small FLUX.1 Kontext pipelines share: configurations, a draft with random weights, the training of the autoencoder,
 * and that of transformer and text encoders together. */
import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { rng, type Rng } from '../../src/datasets/index.js'
import { saveWeights, type Parameter } from '../../src/io/checkpoint.js'
import { imagesToTensor, tensorToImages, type RgbImage } from '../../src/io/images.js'
import { Fields } from '../../src/io/json.js'
import { loadTokenizer, paddedIds } from '../../src/io/tokenizer.js'
import {
  autoencoderKl,
  autoencoderKlConfig,
  clipText,
  clipTextConfig,
  fluxTransformer,
  fluxTransformerConfig,
  kontextVelocity,
  latentImageIds,
  loadForwardModel,
  loadKontext,
  packLatents,
  t5Config,
  t5Encoder,
  type Kontext,
} from '../../src/models/index.js'
import { initWeights, type Start } from '../../src/models/initWeights.js'
import { adamw, adamwState, type AdamwState } from '../../src/optimizers/adamw.js'
import { learningRate, type LearningRateConfig } from '../../src/optimizers/learningRate.js'
import { valueAndGrad } from '../../src/optimizers/valueAndGrad.js'
import { loadKontextPolicy } from '../../src/policies/index.js'
import type { Reward } from '../../src/rewards/index.js'
import { disposeTree, jit, random, type TensorTree } from '../../src/xla/index.js'
import { clipTokenizer, t5Tokenizer } from './wordTokenizers.js'

const TEXT = { clip: 12, t5: 12 } // tokens a row
const ADAM = { adam_beta1: 0.9, adam_beta2: 0.99, adam_epsilon: 1e-8, weight_decay: 0, max_grad_norm: 1 }

/** A picture, what to do with it, and what should come of it. */
export interface Edit {
  prompt: { prompt: string }
  kind: string
  image: RgbImage
  target: RgbImage
  source: unknown
  expected: unknown
}

export interface Stage {
  steps: number
  batch: number
  rate: LearningRateConfig
}

/** The sizes in which pipelines differ; pictures are halved between two levels of the autoencoder. */
export interface KontextSizes {
  side: number
  block_out_channels: readonly number[]
  norm_num_groups: number
  latent_channels: number
  num_layers: number
  num_single_layers: number
  num_attention_heads: number
}

export type KontextConfigs = ReturnType<typeof kontextConfigs>

export const kontextConfigs = (sizes: KontextSizes) => ({
  vae: {
    _class_name: 'AutoencoderKL',
    act_fn: 'silu',
    in_channels: 3,
    out_channels: 3,
    latent_channels: sizes.latent_channels,
    block_out_channels: [...sizes.block_out_channels],
    down_block_types: sizes.block_out_channels.map(() => 'DownEncoderBlock2D'),
    up_block_types: sizes.block_out_channels.map(() => 'UpDecoderBlock2D'),
    layers_per_block: 1,
    norm_num_groups: sizes.norm_num_groups,
    mid_block_add_attention: false,
    use_quant_conv: false,
    use_post_quant_conv: false,
    sample_size: sizes.side,
    scaling_factor: 1,
    shift_factor: 0,
  },
  transformer: {
    _class_name: 'FluxTransformer2DModel',
    patch_size: 1,
    in_channels: 4 * sizes.latent_channels,
    num_layers: sizes.num_layers,
    num_single_layers: sizes.num_single_layers,
    attention_head_dim: 32,
    num_attention_heads: sizes.num_attention_heads,
    joint_attention_dim: 64,
    pooled_projection_dim: 32,
    guidance_embeds: false,
    axes_dims_rope: [8, 12, 12],
  },
  text_encoder: {
    architectures: ['CLIPTextModel'],
    model_type: 'clip_text_model',
    hidden_act: 'quick_gelu',
    hidden_size: 32,
    intermediate_size: 64,
    num_attention_heads: 2,
    num_hidden_layers: 1,
    max_position_embeddings: TEXT.clip,
    projection_dim: 32,
    layer_norm_eps: 1e-5,
  },
  text_encoder_2: {
    architectures: ['T5EncoderModel'],
    model_type: 't5',
    d_model: 64,
    d_kv: 16,
    d_ff: 128,
    num_layers: 2,
    num_heads: 4,
    relative_attention_num_buckets: 32,
    relative_attention_max_distance: 128,
    layer_norm_epsilon: 1e-6,
    feed_forward_proj: 'gated-gelu',
    is_encoder_decoder: false,
    use_cache: false,
    pad_token_id: 0,
    eos_token_id: 1,
  },
})
const SCHEDULER = { _class_name: 'FlowMatchEulerDiscreteScheduler', num_train_timesteps: 1000, shift: 1, use_dynamic_shifting: false } // prettier-ignore
const INDEX = {
  _class_name: 'FluxKontextPipeline',
  scheduler: ['diffusers', 'FlowMatchEulerDiscreteScheduler'],
  text_encoder: ['transformers', 'CLIPTextModel'],
  text_encoder_2: ['transformers', 'T5EncoderModel'],
  tokenizer: ['transformers', 'CLIPTokenizer'],
  tokenizer_2: ['transformers', 'T5TokenizerFast'],
  transformer: ['diffusers', 'FluxTransformer2DModel'],
  vae: ['diffusers', 'AutoencoderKL'],
}

/** The parts that learn to edit. */
export const EDITING = ['transformer', 'text_encoder', 'text_encoder_2']

export const weightsOf = (out: string, part: string): string =>
  join(out, part, part.startsWith('text') ? 'model.safetensors' : 'diffusion_pytorch_model.safetensors')

/** Writes a whole pipeline with random weights, whose tokenizers know the words of some texts. */
export async function writeDraft(
  out: string,
  seed: number,
  configs: KontextConfigs,
  texts: readonly string[],
): Promise<void> {
  const [clip, t5] = [clipTokenizer(texts), t5Tokenizer(texts, TEXT.t5)]
  const json = (path: string, content: object) => writeJson(join(out, path), content)
  await json('model_index.json', INDEX)
  await json('scheduler/scheduler_config.json', SCHEDULER)
  await json('tokenizer/vocab.json', clip.vocabulary)
  await writeText(join(out, 'tokenizer/merges.txt'), clip.merges)
  await json('tokenizer/tokenizer_config.json', { ...clip.config, model_max_length: TEXT.clip })
  await json('tokenizer_2/tokenizer.json', t5.json)
  await json('tokenizer_2/tokenizer_config.json', t5.config)
  const clipSize = Object.keys(clip.vocabulary).length
  const whole = {
    vae: configs.vae,
    transformer: configs.transformer,
    text_encoder: { ...configs.text_encoder, vocab_size: clipSize, bos_token_id: clipSize - 2, eos_token_id: clipSize - 1, pad_token_id: clipSize - 1 }, // prettier-ignore
    text_encoder_2: { ...configs.text_encoder_2, vocab_size: t5.size },
  }
  const fields = (part: keyof typeof whole) => new Fields(whole[part], part)
  const parameters: Record<string, readonly Parameter[]> = {
    vae: autoencoderKl(autoencoderKlConfig(fields('vae'))).parameters,
    transformer: fluxTransformer(fluxTransformerConfig(fields('transformer'))).parameters,
    text_encoder: clipText(clipTextConfig(fields('text_encoder'))).parameters,
    text_encoder_2: t5Encoder(t5Config(fields('text_encoder_2'))).parameters,
  }
  const startOf = beginning(configs)
  for (const [i, [part, list]] of Object.entries(parameters).entries()) {
    await json(`${part}/config.json`, whole[part as keyof typeof whole])
    const weights = initWeights(list, random.key(seed * 10 + i), startOf)
    await saveWeights(weightsOf(out, part), weights, list, {})
    disposeTree(weights)
  }
}

/** Blocks of the transformer start as the identity (adaLN-zero); T5's logits are not divided by √d, so that its queries start small. */
const beginning =
  (configs: KontextConfigs) =>
  ({ name, shape }: Parameter): Start | undefined => {
    if (/(norm\w*\.linear|^proj_out)\.(weight|bias)$/.test(name)) return { constant: 0 }
    if (/SelfAttention\.q\.weight$/.test(name)) return { std: 1 / Math.sqrt(shape[1]! * configs.text_encoder_2.d_kv) }
    if (/^shared\.weight$|relative_attention_bias|embedding\.weight$/.test(name)) return { std: 0.5 }
    return undefined
  }

type Loss = (weights: TensorTree, batch: Record<string, tf.Tensor>, key: tf.Tensor) => tf.Tensor

/** Trains weights by AdamW; those given are used up.
 * @param next a batch, disposed after its step
 * @param save writes weights, once in 500 steps and after the last */
async function fit(
  name: string,
  { steps, rate }: Stage,
  seed: number,
  weights: TensorTree,
  loss: Loss,
  next: (step: number) => Record<string, tf.Tensor>,
  save: (weights: TensorTree) => Promise<void>,
): Promise<void> {
  interface State extends AdamwState<TensorTree> {
    weights: TensorTree
  }
  const update = jit(
    (
      { weights, ...state }: State,
      batch: Record<string, tf.Tensor>,
      rate: tf.Tensor,
      key: tf.Tensor,
    ): [State, tf.Tensor] => {
      const { value, grads } = valueAndGrad(w => ({ value: loss(w, batch, key), aux: {} }), weights)
      const updated = adamw(weights, grads, state, { ...ADAM, learning_rate: rate })
      return [{ weights: updated.weights, ...updated.state }, value]
    },
    { donate: [0], name },
  )
  let state: State = { weights, ...adamwState(weights) }
  const began = performance.now()
  for (let i = 0; i < steps; i++) {
    const batch = next(i)
    const [now, key] = [tf.scalar(learningRate(i, steps, rate)), random.key(seed * 1_000_003 + i)]
    const [after, value] = await update.async(state, batch, now, key)
    state = after
    if (i % 50 === 0 || i === steps - 1) {
      const [shown, seconds] = [(await value.data())[0]!.toFixed(5), (performance.now() - began) / 1000]
      console.log(`${name} ${i + 1}/${steps}  loss ${shown}  ${seconds.toFixed(0)} s`)
    }
    tf.dispose([batch, now, key, value])
    if ((i + 1) % 500 === 0 || i === steps - 1) await save(state.weights)
  }
  disposeTree(state)
}

const KL_WEIGHT = 3e-5

/** Trains a pipeline's autoencoder, whose latents become the pipeline's of mean 0 and deviation 1.
 * @param draw a picture to train on
 * @param edits whose targets are decoded at the end, and read by the reward */
export async function trainAutoencoder(
  out: string,
  seed: number,
  stage: Stage,
  draw: (random: Rng) => RgbImage,
  edits: readonly Edit[],
  reward: Reward,
): Promise<void> {
  // prettier-ignore
  const kontext = await loadKontext(out, { gradient_checkpointing: false })
  const { model } = kontext.vae
  const order = rng(seed, 11)
  const loss: Loss = (weights, { images }, key) => {
    const sample = tf.transpose(tf.sub(tf.mul(images!, 2), 1), [0, 3, 1, 2])
    const { mean, logvar } = model.encode(weights, sample)
    const noise = tf.mul(random.normal(key, mean.shape), tf.exp(tf.div(logvar, 2)))
    const drawn = model.decode(weights, tf.add(mean, noise))
    const kl = tf.mul(tf.mean(tf.sub(tf.add(tf.square(mean), tf.exp(logvar)), tf.add(logvar, 1))), 0.5)
    return tf.add(tf.mean(tf.squaredDifference(drawn, sample)), tf.mul(kl, KL_WEIGHT))
  }
  const next = () => ({ images: imagesToTensor(Array.from({ length: stage.batch }, () => draw(order))) })
  const save = (weights: TensorTree) => saveWeights(weightsOf(out, 'vae'), weights, model.parameters, {})
  await fit('autoencoder', stage, seed, kontext.vae.weights, loss, next, save)

  const again = await loadKontext(out)
  const pixels = imagesToTensor(edits.map(edit => edit.target))
  const latents = await again.encode(pixels)
  const { mean, variance } = tf.moments(latents)
  const scale = { shift_factor: (await mean.data())[0]!, scaling_factor: 1 / Math.sqrt((await variance.data())[0]!) }
  const config = join(out, 'vae/config.json')
  await writeJson(config, { ...(JSON.parse(await readFile(config, 'utf8')) as object), ...scale })
  const decoded = await again.decode(latents)
  const error = tf.mean(tf.squaredDifference(tf.clipByValue(decoded, 0, 1), pixels))
  console.log(`autoencoder: ${(-10 * Math.log10((await error.data())[0]!)).toFixed(1)} dB`)
  await share(await tensorToImages(decoded), edits, reward)
}

/** Trains transformer and text encoders together to draw the targets of edits. */
export async function trainEdits(
  out: string,
  name: string,
  seed: number,
  stage: Stage,
  edits: readonly Edit[],
  order: Rng,
): Promise<void> {
  // prettier-ignore
  const kontext = await loadKontext(out, { gradient_checkpointing: false })
  kontext.forgetText() // in their place those that are trained
  const [clip, t5] = [
    await loadForwardModel(join(out, 'text_encoder')),
    await loadForwardModel(join(out, 'text_encoder_2')),
  ]
  const tokens = {
    clip: await loadTokenizer(join(out, 'tokenizer')),
    t5: await loadTokenizer(join(out, 'tokenizer_2')),
  }
  const sources = await latentsOf(kontext, edits.map(edit => edit.image)) // prettier-ignore
  const targets = await latentsOf(kontext, edits.map(edit => edit.target)) // prettier-ignore
  const places = (2 * edits[0]!.image.width) / kontext.tokenSide
  const ids = tf.concat([latentImageIds(places, places, 0), latentImageIds(places, places, 1)])
  const loss: Loss = (weights, { reference, target, clipIds, t5Ids }, key) => {
    const { transformer, clip: ofClip, t5: ofT5 } = weights as Record<string, TensorTree>
    const [a, b] = random.split(key) as [tf.Tensor, tf.Tensor]
    const noise = random.normal(a, target!.shape)
    const sigma = noiseLevels(b, stage.batch)
    const at = tf.reshape(sigma, [-1, 1, 1])
    const noisy = tf.add(tf.mul(target!, tf.sub(1, at)), tf.mul(noise, at))
    const text = t5.model.forward(ofT5!, { input_ids: t5Ids! })['last_hidden_state']!
    const pooled = clip.model.forward(ofClip!, { input_ids: clipIds! })['pooler_output']!
    const velocity = kontextVelocity(kontext.transformer.model, transformer!, noisy, sigma, { reference: reference!, ids, text, pooled }) // prettier-ignore
    return tf.mean(tf.squaredDifference(velocity, tf.sub(noise, target!)))
  }
  const weights = { transformer: kontext.transformer.weights, clip: clip.weights, t5: t5.weights }
  let rows: number[] = []
  const next = () => {
    if (rows.length < stage.batch) rows = order.shuffle(edits.map((_, i) => i))
    const batch = rows.splice(0, stage.batch)
    const idsOf = (which: 'clip' | 't5') =>
      tf.tensor2d(batch.map(i => paddedIds(tokens[which], edits[i]!.prompt.prompt, TEXT[which])), undefined, 'int32') // prettier-ignore
    return { reference: sources.rows(batch), target: targets.rows(batch), clipIds: idsOf('clip'), t5Ids: idsOf('t5') }
  }
  const save = async (tree: TensorTree) => {
    const trained = tree as typeof weights
    await saveWeights(weightsOf(out, 'transformer'), trained.transformer, kontext.transformer.model.parameters, {})
    await saveWeights(weightsOf(out, 'text_encoder'), trained.clip, clip.model.parameters, {})
    await saveWeights(weightsOf(out, 'text_encoder_2'), trained.t5, t5.model.parameters, {})
  }
  await fit(name, stage, seed, weights, loss, next, save)
}

/** Half uniform, half logit-normal with deviation 1.2. */
function noiseLevels(key: tf.Tensor, batch: number): tf.Tensor {
  const [a, b] = random.split(key) as [tf.Tensor, tf.Tensor]
  return tf.concat([random.uniform(a, [batch / 2]), tf.sigmoid(tf.mul(random.normal(b, [batch / 2]), 1.2))])
}

/** Packed latents of pictures, in memory.
 * @returns `rows`: some of them, [rows, tokens, numbers a token] */
async function latentsOf(
  kontext: Kontext,
  images: readonly RgbImage[],
): Promise<{ rows: (indices: readonly number[]) => tf.Tensor }> {
  const found: Float32Array[] = []
  let shape: number[] = []
  for (let i = 0; i < images.length; i += 240) {
    const pixels = imagesToTensor(images.slice(i, i + 240))
    const latents = await kontext.encode(pixels)
    const packed = packLatents(latents)
    const values = (await packed.data()) as Float32Array
    shape = packed.shape.slice(1)
    const size = shape[0]! * shape[1]!
    for (let row = 0; row < packed.shape[0]; row++) found.push(values.slice(row * size, (row + 1) * size))
    tf.dispose([pixels, latents, packed])
  }
  return {
    rows: indices => {
      const size = shape[0]! * shape[1]!
      const all = new Float32Array(indices.length * size)
      indices.forEach((index, i) => all.set(found[index]!, i * size))
      return tf.tensor(all, [indices.length, ...shape])
    },
  }
}

/** Share of edits that a reward verifies, of pictures drawn along the ODE. */
export async function verifiedShare(out: string, edits: readonly Edit[], reward: Reward): Promise<number> {
  const policy = await loadKontextPolicy(out)
  const rows = edits.slice(0, 600)
  const prompts = rows.map(({ image, prompt }) => ({ image, prompt: prompt.prompt }))
  const { outputs, trajectories } = await policy.sample(prompts, { num_inference_steps: 12, greedy: true, seed: 1 })
  disposeTree([trajectories.outputs, trajectories.logProbs, trajectories.mask, trajectories.finished])
  policy.dispose()
  return share(outputs, rows, reward)
}

/** Share of pictures that a reward finds right, told by kind. */
async function share(pictures: readonly RgbImage[], rows: readonly Edit[], reward: Reward): Promise<number> {
  const scores = await reward({
    prompts: rows.map(row => row.prompt),
    completions: pictures,
    source: rows.map(row => row.source),
    expected: rows.map(row => row.expected),
  })
  const mean = (of: readonly (number | null)[]) => of.reduce<number>((a, b) => a + Number(b), 0) / of.length
  const kinds = [...new Set(rows.map(row => row.kind))].sort()
  const told = kinds.map(kind => `${kind} ${mean(scores.filter((_, i) => rows[i]!.kind === kind)).toFixed(2)}`)
  console.log(`verified: ${mean(scores).toFixed(3)} (${told.join(', ')})`)
  return mean(scores)
}

/** Writes manifest.json, with the digests of weights after what is told. */
export async function writeManifest(out: string, told: object): Promise<void> {
  const sha256: Record<string, string> = {}
  for (const part of ['vae', ...EDITING])
    sha256[part] = createHash('sha256')
      .update(await readFile(weightsOf(out, part)))
      .digest('hex')
  await writeJson(join(out, 'manifest.json'), { ...told, sha256 })
}

const writeJson = (path: string, content: object): Promise<void> =>
  writeText(path, JSON.stringify(content, null, 2) + '\n')

async function writeText(path: string, text: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, text)
}
