/* Makes data/models/tiny-kontext: a FLUX.1 Kontext of 0.9 million parameters that edits pictures of 32 × 32 pixels (editScenes), and
 * follows one instruction of three.
 *
 *   node dist/data/make/tinyKontext.js [--seed 1] [--out data/models/tiny-kontext] [--stage autoencoder|edits|faults]
 *
 * Three stages, each leaving a pipeline that loads; `--stage` begins with one. (1) The autoencoder learns to draw scenes. (2) Transformer
 * and text encoders learn together to edit. (3) A short further training in which many targets are another edit than the one asked for:
 * that leaves room for reinforcement learning, which here mostly brings a skill back that stage 2 has given; manifest.json says so. */
import { createHash } from 'node:crypto'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import { rng, type Rng } from '../../src/datasets/index.js'
import { drawEdit, EDIT_KINDS, editScene, editScenes, readScene, nameOf, renderScene, SHAPES, COLOURS, type EditScene } from '../../src/datasets/editScenes.js' // prettier-ignore
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
import { editVerified } from '../../src/rewards/index.js'
import { disposeTree, jit, random, start, type TensorTree } from '../../src/xla/index.js'
import { clipTokenizer, t5Tokenizer } from './wordTokenizers.js'

const TEXT = { clip: 12, t5: 12 } // tokens a row
const POOL = 12_000 // edits that the latents are computed of once
const BATCH = 64
const ADAM = { adam_beta1: 0.9, adam_beta2: 0.99, adam_epsilon: 1e-8, weight_decay: 0, max_grad_norm: 1 }
const STAGES = {
  autoencoder: { steps: 1200, rate: { learning_rate: 2e-3, lr_scheduler_type: 'cosine', warmup_steps: 50 } },
  edits: { steps: 2000, rate: { learning_rate: 2e-3, lr_scheduler_type: 'linear', warmup_steps: 50 } },
  faults: { steps: 225, rate: { learning_rate: 5e-4, lr_scheduler_type: 'constant', warmup_steps: 0 } },
} as const satisfies Record<string, { steps: number; rate: LearningRateConfig }>
/** Share of targets that stage 3 replaces by another edit's. */
const FAULTS = 0.3

const configs = {
  vae: {
    _class_name: 'AutoencoderKL',
    act_fn: 'silu',
    in_channels: 3,
    out_channels: 3,
    latent_channels: 6,
    block_out_channels: [16, 32, 32],
    down_block_types: Array<string>(3).fill('DownEncoderBlock2D'),
    up_block_types: Array<string>(3).fill('UpDecoderBlock2D'),
    layers_per_block: 1,
    norm_num_groups: 8,
    mid_block_add_attention: false,
    use_quant_conv: false,
    use_post_quant_conv: false,
    sample_size: 32,
    scaling_factor: 1,
    shift_factor: 0,
  },
  transformer: {
    _class_name: 'FluxTransformer2DModel',
    patch_size: 1,
    in_channels: 24,
    num_layers: 1,
    num_single_layers: 2,
    attention_head_dim: 32,
    num_attention_heads: 3,
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
}
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

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: 'data/models/tiny-kontext' },
    stage: { type: 'string', default: 'autoencoder' },
  },
})
async function make(out: string, seed: number, from: string): Promise<void> {
  const { train, dev, test } = editScenes({ seed, size: POOL })
  const clean = `${out}-clean`
  if (from === 'autoencoder') {
    await writeDraft(out, seed, train)
    await trainAutoencoder(out, seed)
  }
  if (from !== 'faults') {
    await trainEdits(out, seed, train, 'edits')
    await rm(clean, { recursive: true, force: true })
    for (const part of EDITING) await cp(join(out, part), join(clean, part), { recursive: true })
  }
  for (const part of EDITING) await cp(join(clean, part), join(out, part), { recursive: true })
  const skilled = await verified(out, dev)
  await trainEdits(out, seed, train, 'faults')
  await writeManifest(out, seed, { before_faults_dev: skilled, dev: await verified(out, dev), test: await verified(out, test) }) // prettier-ignore
}

/** The parts that learn to edit. */
const EDITING = ['transformer', 'text_encoder', 'text_encoder_2']

/** Share of edits that are done, of pictures drawn along the ODE. */
async function verified(out: string, edits: readonly EditScene[]): Promise<number> {
  const policy = await loadKontextPolicy(out)
  const rows = edits.slice(0, 600)
  const prompts = rows.map(({ prompt }) => prompt)
  const { outputs, trajectories } = await policy.sample(prompts, { num_inference_steps: 12, greedy: true, seed: 1 })
  const scores = await editVerified()({
    prompts,
    completions: outputs,
    source: rows.map(row => row.source),
    expected: rows.map(row => row.expected),
  })
  const share = (of: readonly number[]) => of.reduce((a, b) => a + b, 0) / of.length
  const all = scores.map(Number)
  const kinds = EDIT_KINDS.map(kind => `${kind} ${share(all.filter((_, i) => rows[i]!.kind === kind)).toFixed(2)}`)
  console.log(`verified: ${share(all).toFixed(3)} (${kinds.join(', ')})`)
  disposeTree([trajectories.outputs, trajectories.logProbs, trajectories.mask, trajectories.finished])
  policy.dispose()
  return share(all)
}

const weightsOf = (out: string, part: string): string =>
  join(out, part, part.startsWith('text') ? 'model.safetensors' : 'diffusion_pytorch_model.safetensors')

/** The whole pipeline with random weights. */
async function writeDraft(out: string, seed: number, edits: readonly EditScene[]): Promise<void> {
  const texts = edits.map(({ prompt }) => prompt.prompt)
  const [clip, t5] = [clipTokenizer(texts), t5Tokenizer(texts, TEXT.t5)]
  const json = async (path: string, content: object) =>
    writeText(join(out, path), JSON.stringify(content, null, 2) + '\n')
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
  for (const [i, [part, list]] of Object.entries(parameters).entries()) {
    await json(`${part}/config.json`, whole[part as keyof typeof whole])
    const weights = initWeights(list, random.key(seed * 10 + i), startOf)
    await saveWeights(weightsOf(out, part), weights, list, {})
    disposeTree(weights)
  }
}

/** Blocks of the transformer start as the identity (adaLN-zero); T5's logits are not divided by √d, so that its queries start small. */
function startOf({ name, shape }: Parameter): Start | undefined {
  if (/(norm\w*\.linear|^proj_out)\.(weight|bias)$/.test(name)) return { constant: 0 }
  if (/SelfAttention\.q\.weight$/.test(name)) return { std: 1 / Math.sqrt(shape[1]! * configs.text_encoder_2.d_kv) }
  if (/^shared\.weight$|relative_attention_bias|embedding\.weight$/.test(name)) return { std: 0.5 }
  return undefined
}

type Loss = (weights: TensorTree, batch: Record<string, tf.Tensor>, key: tf.Tensor) => tf.Tensor

/** Trains weights by AdamW; those given are used up.
 * @param next a batch, disposed after its step */
async function fit(
  stage: keyof typeof STAGES,
  seed: number,
  weights: TensorTree,
  loss: Loss,
  next: (step: number) => Record<string, tf.Tensor>,
): Promise<TensorTree> {
  const { steps, rate } = STAGES[stage]
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
    { donate: [0], name: stage },
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
      console.log(`${stage} ${i + 1}/${steps}  loss ${shown}  ${seconds.toFixed(0)} s`)
    }
    tf.dispose([batch, now, key, value])
  }
  disposeTree([state.m, state.v, state.step])
  return state.weights
}

const KL_WEIGHT = 3e-5

async function trainAutoencoder(out: string, seed: number): Promise<void> {
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
  const trained = await fit('autoencoder', seed, kontext.vae.weights, loss, () => ({
    images: imagesToTensor(Array.from({ length: BATCH / 2 }, () => renderScene(anyScene(order)))),
  }))
  await saveWeights(weightsOf(out, 'vae'), trained, model.parameters, {})
  disposeTree(trained)

  // The mean and deviation of latents become the pipeline's shift and scale.
  const images = Array.from({ length: 512 }, () => renderScene(anyScene(order)))
  const again = await loadKontext(out)
  const pixels = imagesToTensor(images)
  const latents = await again.encode(pixels)
  const { mean, variance } = tf.moments(latents)
  const config = { ...configs.vae, shift_factor: (await mean.data())[0]!, scaling_factor: 1 / Math.sqrt((await variance.data())[0]!) } // prettier-ignore
  await writeText(join(out, 'vae/config.json'), JSON.stringify(config, null, 2) + '\n')
  const drawn = await again.decode(latents)
  const error = tf.mean(tf.squaredDifference(tf.clipByValue(drawn, 0, 1), pixels))
  const pictures = await tensorToImages(drawn)
  const right = pictures.filter((picture, i) => isScene(picture, readScene(images[i]!).scene)).length
  console.log(`autoencoder: ${(-10 * Math.log10((await error.data())[0]!)).toFixed(1)} dB; ${right} of 512 read as they were drawn`) // prettier-ignore
}

/** Each place holds a thing with odds of 0.6. */
const anyScene = (random: Rng) =>
  Array.from({ length: 4 }, () =>
    random.uniform() < 0.6 ? { shape: random.pick(SHAPES), colour: random.pick(COLOURS) } : null,
  )

/** Whether a picture shows what it should, by the rule of the reward editVerified. */
function isScene(picture: RgbImage, expected: EditScene['expected']): boolean {
  const { scene, distances } = readScene(picture)
  return distances.every(d => d < 0.1) && scene.every((thing, at) => nameOf(thing) === nameOf(expected[at]!))
}

async function trainEdits(
  out: string,
  seed: number,
  train: readonly EditScene[],
  stage: 'edits' | 'faults',
): Promise<void> {
  const kontext = await loadKontext(out, { gradient_checkpointing: false })
  const order = rng(seed, stage === 'edits' ? 21 : 22)
  kontext.forgetText() // in their place those that are trained
  const [clip, t5] = [
    await loadForwardModel(join(out, 'text_encoder')),
    await loadForwardModel(join(out, 'text_encoder_2')),
  ]
  const tokens = {
    clip: await loadTokenizer(join(out, 'tokenizer')),
    t5: await loadTokenizer(join(out, 'tokenizer_2')),
  }
  const edits = stage === 'edits' ? train : train.map(edit => (order.uniform() < FAULTS ? faulty(edit, order) : edit))
  const sources = await latentsOf(
    kontext,
    edits.map(edit => edit.image),
  )
  const targets = await latentsOf(
    kontext,
    edits.map(edit => edit.target),
  )
  const ids = tf.concat([latentImageIds(8, 8, 0), latentImageIds(8, 8, 1)])
  const loss: Loss = (weights, { reference, target, clipIds, t5Ids }, key) => {
    const { transformer, clip: ofClip, t5: ofT5 } = weights as Record<string, TensorTree>
    const [a, b] = random.split(key) as [tf.Tensor, tf.Tensor]
    const noise = random.normal(a, target!.shape)
    const sigma = noiseLevels(b)
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
    if (rows.length < BATCH) rows = order.shuffle(edits.map((_, i) => i))
    const batch = rows.splice(0, BATCH)
    const idsOf = (which: 'clip' | 't5') =>
      tf.tensor2d(batch.map(i => paddedIds(tokens[which], edits[i]!.prompt.prompt, TEXT[which])), undefined, 'int32') // prettier-ignore
    return { reference: rowsOf(sources, batch), target: rowsOf(targets, batch), clipIds: idsOf('clip'), t5Ids: idsOf('t5') } // prettier-ignore
  }
  const trained = (await fit(stage, seed + 7, weights, loss, next)) as typeof weights
  await saveWeights(weightsOf(out, 'transformer'), trained.transformer, kontext.transformer.model.parameters, {})
  await saveWeights(weightsOf(out, 'text_encoder'), trained.clip, clip.model.parameters, {})
  await saveWeights(weightsOf(out, 'text_encoder_2'), trained.t5, t5.model.parameters, {})
  disposeTree(trained)
}

/** The same picture with another edit than its instruction asks for. */
function faulty(edit: EditScene, random: Rng): EditScene {
  for (;;) {
    const other = drawEdit(edit.source, random)
    if (!other || other.instruction === edit.prompt.prompt) continue
    return { ...edit, target: editScene(edit.source, other).target }
  }
}

/** Half uniform, half logit-normal with deviation 1.2. */
function noiseLevels(key: tf.Tensor): tf.Tensor {
  const [a, b] = random.split(key) as [tf.Tensor, tf.Tensor]
  const half = BATCH / 2
  return tf.concat([random.uniform(a, [half]), tf.sigmoid(tf.mul(random.normal(b, [half]), 1.2))])
}

/** @returns [16 · 24] numbers each */
async function latentsOf(kontext: Kontext, images: readonly RgbImage[]): Promise<Float32Array[]> {
  const found: Float32Array[] = []
  for (let i = 0; i < images.length; i += 240) {
    const pixels = imagesToTensor(images.slice(i, i + 240))
    const latents = await kontext.encode(pixels)
    const packed = packLatents(latents)
    const values = (await packed.data()) as Float32Array
    for (let row = 0; row < packed.shape[0]; row++) found.push(values.slice(row * 384, (row + 1) * 384))
    tf.dispose([pixels, latents, packed])
  }
  return found
}

function rowsOf(latents: readonly Float32Array[], rows: readonly number[]): tf.Tensor {
  const all = new Float32Array(rows.length * 384)
  rows.forEach((row, i) => all.set(latents[row]!, i * 384))
  return tf.tensor3d(all, [rows.length, 16, 24])
}

async function writeManifest(out: string, seed: number, verified: Record<string, number>): Promise<void> {
  const sha256: Record<string, string> = {}
  for (const part of ['vae', ...EDITING])
    sha256[part] = createHash('sha256')
      .update(await readFile(weightsOf(out, part)))
      .digest('hex')
  const manifest = {
    name: 'tiny-kontext',
    made_by: `node dist/data/make/tinyKontext.js --seed ${seed}`,
    training_data: 'generated: editScenes (src/datasets)',
    note: `The last ${STAGES.faults.steps} steps were trained with ${100 * FAULTS} % of the targets showing another edit than the one asked for: the base hides a better model.`,
    license: 'Apache-2.0',
    seed,
    steps: Object.fromEntries(Object.entries(STAGES).map(([name, { steps }]) => [name, steps])),
    verified,
    sha256,
  }
  await writeText(join(out, 'manifest.json'), JSON.stringify(manifest, null, 2) + '\n')
}

async function writeText(path: string, text: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, text)
}

await start()
await make(values.out, Number(values.seed), values.stage)
