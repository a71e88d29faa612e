import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { requireOneOf, requireWhole, resolveConfig } from '../config.js'
import { imagesToTensor, tensorToImages, type RgbImage } from '../io/images.js'
import {
  initAdapter,
  kontextVelocity,
  latentImageIds,
  loadAdapter,
  loadKontext,
  packLatents,
  saveAdapter,
  saveMerged,
  unpackLatents,
  type Kontext,
  type KontextOptions,
  type LoraConfig,
  type TextFeatures,
} from '../models/index.js'
import { repeatRows } from '../nn/index.js'
import { FLOW_STEPS, flowMatchSigmas, flowRollout, type FlowPlan, type StepRows } from '../sampling/index.js'
import { astype, copy, disposeTree, mapTensors, random, start, type TensorTree } from '../xla/index.js'
import { overlay } from './overlay.js'
import type { Evaluation, Policy, SampleOptions, SaveOptions, Samples, Trajectories, Weights } from './policy.js'

/* Letters: n prompts, G generations, B = n·G rows, S steps that are trained on, P tokens of the target, R of the reference, T of the
 * text, C numbers a token. */

/** A picture and what to do with it. */
export interface ImagePrompt {
  image: RgbImage
  prompt: string
}

/** How pictures are drawn. */
export interface FlowSampleOptions extends SampleOptions {
  /** Pictures per prompt. Default 1. */
  num_generations?: number
  /** Denoising steps. Default 28; 6 to 10 do while training. */
  num_inference_steps?: number
  /** Of models distilled from classifier-free guidance. Default 3.5. */
  guidance_scale?: number
  /** How a random step is taken: `sde` as in Flow-GRPO, `cps` as in Flow-CPS. Default sde. */
  sde_type?: 'sde' | 'cps'
  /** How random these steps are. Default 0.7. */
  noise_level?: number
  /** The steps that are random, and trained on: from the first index up to, without, the second; others follow the ODE. Default all. */
  sde_window?: readonly [number, number] | null
  /** Whether the pictures of a prompt start from the same noise. Default false. */
  shared_noise?: boolean
  /** Follow the ODE in all steps; nothing can be trained on such samples but pairs. Default false. */
  greedy?: boolean
}

const DEFAULTS = {
  num_generations: 1,
  num_inference_steps: 28,
  guidance_scale: 3.5,
  sde_type: 'sde' as 'sde' | 'cps',
  noise_level: 0.7,
  sde_window: null as readonly [number, number] | null,
  shared_noise: false,
  greedy: false,
  seed: 0,
}

/** Options that mean something to tokens: here only as they are by default. (The bound on a completion's length is not looked at.) */
const OF_TOKENS = { temperature: 1, top_p: 1, top_k: 0, min_p: 0, repetition_penalty: 1 }

/** Pictures with what they were asked for; rows B. */
export type FlowRows = {
  latents: tf.Tensor // [B, P, C], the picture's
  reference: tf.Tensor // [B, R, C], the source's
  ids: tf.Tensor // [B, P + R, 3]
  text: tf.Tensor // [B, T, joint_attention_dim]
  pooled: tf.Tensor // [B, pooled_projection_dim]
  guidance: tf.Tensor // [B]
  /** The random steps, under the way they were taken. */
  sde?: StepRows
  cps?: StepRows
}

export interface KontextPolicyOptions extends KontextOptions {
  /** Train an adapter and keep the weights frozen: a fresh one of this configuration, or one stored in diffusers' layout. Left out: all
   * weights of the transformer are trained. */
  adapter?: Partial<LoraConfig> | string
  /** Of a fresh adapter. Default 0. */
  seed?: number
  /** Draws of noise and noise level that `score` averages over. Default 4. */
  score_draws?: number
  /** Tokens of T5 a prompt. Default as many as its tokenizer names, at most 512. */
  max_sequence_length?: number | null
}

/** Loads a directory of a FluxKontextPipeline as a policy whose transformer, or an adapter on it, is trained, and starts the engine if
 * nothing has.
 * @throws Error naming all parts that are missing or do not fit; for quantization without an adapter when training begins */
export async function loadKontextPolicy(dir: string, options: KontextPolicyOptions = {}): Promise<KontextPolicy> {
  const { adapter, seed, score_draws, max_sequence_length, ...loading } = resolveConfig<
    Required<Omit<KontextPolicyOptions, 'adapter'>> & KontextPolicyOptions
  >(
    'loadKontextPolicy',
    {
      adapter: undefined,
      seed: 0,
      score_draws: 4,
      max_sequence_length: null,
      dtype: 'float32',
      quantization: null,
      gradient_checkpointing: true,
      vae_tile: null,
    },
    options,
  )
  requireOneOf('loadKontextPolicy', 'dtype', loading.dtype, ['float32', 'bfloat16'])
  if (loading.quantization !== null) requireOneOf('loadKontextPolicy', 'quantization', loading.quantization, ['nf4'])
  requireWhole('loadKontextPolicy', 'score_draws', score_draws, 1)
  if (max_sequence_length !== null) requireWhole('loadKontextPolicy', 'max_sequence_length', max_sequence_length, 1)
  await start()
  const kontext = await loadKontext(dir, loading)
  const { model, weights } = kontext.transformer
  const settings = { score_draws, max_sequence_length }
  if (adapter === undefined) {
    const parts = loading.quantization ? { trainable: {}, frozen: weights } : { trainable: weights, frozen: {} }
    return new KontextPolicy(kontext, parts, settings)
  }
  const lora =
    typeof adapter === 'string' ? await loadAdapter(model, adapter) : initAdapter(model, adapter, seed, weights)
  return new KontextPolicy(
    kontext,
    { trainable: lora.weights, frozen: overlay(weights, lora.scaling) },
    settings,
    lora.config,
  )
}

type Settings = Required<Pick<KontextPolicyOptions, 'score_draws' | 'max_sequence_length'>>

/** FLUX.1 Kontext as a policy: denoising steps are its steps. Made by {@link loadKontextPolicy}.
 * @source Flow-GRPO, arXiv 2505.05470; Diffusion-DPO, arXiv 2311.12908 */
export class KontextPolicy implements Policy<ImagePrompt, RgbImage> {
  weights: Weights
  readonly #kontext: Kontext
  readonly #settings: Settings
  readonly #lora: LoraConfig | undefined
  readonly #family: Family
  #reference: Weights | undefined

  /** @param lora what the trainable weights are, if they are an adapter
   * @param family of the policy that this one is a fork of */
  constructor(kontext: Kontext, weights: Weights, settings: Settings, lora?: LoraConfig, family?: Family) {
    this.#lora = lora
    this.#kontext = kontext
    this.weights = weights
    this.#settings = settings
    this.#family = family ?? { users: 0, rollout: rolloutOf(kontext), texts: new Map() }
    this.#family.users++
  }

  /** Under an adapter: the frozen weights. With all weights trained: a copy of the weights, made when first asked for, so ask before
   * training (optimizers do); a fork makes its own. */
  get reference(): Weights {
    if (this.#lora) return { trainable: {}, frozen: this.weights.frozen }
    return (this.#reference ??= { trainable: copied(this.weights.trainable), frozen: this.weights.frozen })
  }

  /** @throws Error for unknown or unsound options, or pictures that differ in size or are not of whole tokens */
  async sample(prompts: readonly ImagePrompt[], options: FlowSampleOptions): Promise<Samples<RgbImage>> {
    const settings = resolveConfig('sample', { max_completion_length: 0, ...OF_TOKENS, ...DEFAULTS }, options)
    const [from, to] = checkedSettings(settings)
    const { num_generations: G, num_inference_steps: steps, guidance_scale, noise_level, seed } = settings
    const conditions = await this.#conditions(prompts, guidance_scale)
    const [h, w] = this.#places(prompts[0]!.image)
    const sigmas = flowMatchSigmas(this.#kontext.scheduler, steps, (h * w) / 4)
    const draw = {
      sigma: tf.tensor1d(sigmas.slice(0, -1)),
      sigmaNext: tf.tensor1d(sigmas.slice(1)),
      eta: tf.tensor1d(sigmas.slice(1).map((_, i) => (i >= from && i < to ? noise_level : 0))),
      key: random.key(seed),
    }
    const tokens: FlowPlan['tokens'] = [(h * w) / 4, conditions.reference.shape[2]!]
    const plan: FlowPlan = { generations: G, tokens, from, to, type: settings.sde_type, shared: settings.shared_noise }
    const whole = this.#whole(this.weights)
    const { logProbs, mean, ...rows } = await this.#family.rollout(whole, conditions, draw, plan)
    disposeTree([conditions, draw])
    const B = prompts.length * G
    return {
      outputs: await this.#pictures(rows.latents, h, w),
      trajectories: { outputs: rows, logProbs, mask: tf.ones([B, to - from]), finished: tf.ones([B]), mean },
    }
  }

  evaluate(weights: Weights, trajectories: Trajectories): Evaluation {
    return tf.tidy(() => {
      const rows = trajectories.outputs as FlowRows
      const [type, taken] = rows.cps ? (['cps', rows.cps] as const) : (['sde', rows.sde!] as const)
      const [B, S] = taken.sigma.shape as [number, number]
      const flat = (t: tf.Tensor) => tf.reshape(t, [B * S, ...t.shape.slice(2)])
      const step = mapTensors<StepRows>(taken, flat)
      const v = this.#velocity(
        weights,
        step.x,
        step.sigma,
        mapTensors(conditionsOf(rows), t => repeatRows(t, S)),
      )
      const { logProb, mean, std } = FLOW_STEPS[type]({ ...step, v })
      const unflat = (t: tf.Tensor) => tf.reshape(t, [B, S, ...t.shape.slice(1)])
      const stepSize = tf.sub(taken.sigma, taken.sigmaNext)
      return { logProbs: unflat(logProb), mask: trajectories.mask, mean: unflat(mean), std: unflat(std), stepSize }
    })
  }

  /** @throws Error if there are not as many pictures as prompts, or sizes differ */
  async encode(prompts: readonly ImagePrompt[], outputs: readonly RgbImage[]): Promise<FlowRows> {
    if (prompts.length !== outputs.length)
      throw new Error(`encode: ${outputs.length} pictures for ${prompts.length} prompts, needed one each.`)
    const pixels = imagesToTensor(outputs)
    const encoded = await this.#kontext.encode(pixels)
    const latents = tf.tidy(() => packLatents(encoded))
    disposeTree([pixels, encoded])
    return { ...(await this.#conditions(prompts, DEFAULTS.guidance_scale)), latents }
  }

  /** −½·mean‖v − u‖², averaged over `score_draws` draws of noise and of a logit-normal noise level: the same for the rows of a
   * group, such as both sides of a pair. */
  score(
    weights: Weights,
    outputs: TensorTree,
    key: tf.Tensor,
    { group = 1 } = {},
  ): { score: tf.Tensor; length: tf.Tensor } {
    return tf.tidy(() => {
      const rows = outputs as FlowRows
      const D = this.#settings.score_draws
      const [B, P, C] = rows.latents.shape as [number, number, number]
      const [a, b] = random.split(key) as [tf.Tensor, tf.Tensor]
      const N = B / group
      const noise = tf.reshape(repeatRows(random.normal(a, [N, D, P, C]), group), [B * D, P, C])
      const sigma = tf.reshape(repeatRows(tf.sigmoid(random.normal(b, [N, D])), group), [B * D])
      const at = tf.reshape(sigma, [-1, 1, 1])
      const clean = astype(repeatRows(rows.latents, D), 'f32')
      const noisy = tf.add(tf.mul(clean, tf.sub(1, at)), tf.mul(noise, at))
      const v = this.#velocity(
        weights,
        noisy,
        sigma,
        mapTensors(conditionsOf(rows), t => repeatRows(t, D)),
      )
      const error = tf.mean(tf.squaredDifference(v, tf.sub(noise, clean)), [1, 2]) // [B·D]
      return { score: tf.mul(tf.mean(tf.reshape(error, [B, D]), 1), -0.5), length: tf.ones([B]) }
    })
  }

  fork(trainable = this.weights.trainable): KontextPolicy {
    const weights = { trainable: copied(trainable), frozen: this.weights.frozen }
    return new KontextPolicy(this.#kontext, weights, this.#settings, this.#lora, this.#family)
  }

  /** Writes a pipeline that diffusers opens: the parts it was loaded from, with the transformer as it is now; or with an adapter, what
   * diffusers' `load_lora_weights` reads. */
  async save(dir: string, { merge = false, trainable = this.weights.trainable }: SaveOptions = {}): Promise<void> {
    const { dir: from, transformer } = this.#kontext
    await mkdir(dir, { recursive: true })
    if (this.#lora && !merge) return saveAdapter(transformer.model, this.#lora, trainable, dir, from)
    const stored = join(from, 'transformer', 'diffusion_pytorch_model')
    await cp(from, dir, { recursive: true, dereference: true, filter: file => !file.startsWith(stored) })
    const file = join(dir, 'transformer', 'diffusion_pytorch_model.safetensors')
    await saveMerged(file, this.#whole({ ...this.weights, trainable }), transformer.model)
  }

  dispose(): void {
    disposeTree([this.weights.trainable, this.#reference?.trainable ?? {}])
    if (--this.#family.users > 0) return
    disposeTree([this.weights.frozen, [...this.#family.texts.values()].map(row => [row.text, row.pooled])])
    this.#kontext.forgetText()
    disposeTree(this.#kontext.vae.weights)
  }

  #whole = ({ trainable, frozen }: Weights): TensorTree => overlay(frozen, trainable)

  /** @param x [rows, P, C]
   * @param sigma [rows] */
  #velocity(weights: Weights, x: tf.Tensor, sigma: tf.Tensor, conditions: Conditions): tf.Tensor {
    return velocityOf(this.#kontext, this.#whole(weights), x, sigma, conditions)
  }

  /** What the transformer is told of prompts. Rows n. */
  async #conditions(prompts: readonly ImagePrompt[], guidance_scale: number): Promise<Conditions> {
    if (prompts.length === 0) throw new Error('sample: found no prompts, needed at least one.')
    const [h, w] = this.#places(prompts[0]!.image)
    const pixels = imagesToTensor(prompts.map(({ image }) => image))
    const encoded = await this.#kontext.encode(pixels)
    const { text, pooled } = await this.#textFeatures(prompts.map(({ prompt }) => prompt))
    const reference = tf.tidy(() => packLatents(encoded))
    const ids = tf.tidy(() => {
      const both = tf.concat([latentImageIds(h, w, 0), latentImageIds(h, w, 1)])
      return repeatRows(tf.expandDims(both, 0), prompts.length)
    })
    disposeTree([pixels, encoded])
    return { reference, ids, text, pooled, guidance: tf.fill([prompts.length], guidance_scale) }
  }

  /** Encodes texts and keeps the result, then frees the text encoders, of this policy and all its forks: from now on prompts have one of
   * these texts. What training a large model on a small device needs. */
  async keepTexts(texts: readonly string[]): Promise<void> {
    for (const text of new Set(texts))
      if (!this.#family.texts.has(text))
        this.#family.texts.set(text, await this.#kontext.textFeatures([text], this.#settings.max_sequence_length))
    this.#kontext.forgetText()
  }

  /** Rows n. */
  async #textFeatures(texts: readonly string[]): Promise<TextFeatures> {
    const { texts: kept } = this.#family
    if (kept.size === 0) return this.#kontext.textFeatures(texts, this.#settings.max_sequence_length)
    const rows = texts.map(text => {
      const row = kept.get(text)
      if (!row)
        throw new Error(`KontextPolicy: ${JSON.stringify(text)} was not among the texts of keepTexts. Add it there.`)
      return row
    })
    return { text: tf.concat(rows.map(row => row.text)), pooled: tf.concat(rows.map(row => row.pooled)) }
  }

  /** Places of the latents of a picture. */
  #places({ width, height }: RgbImage): [h: number, w: number] {
    const { tokenSide } = this.#kontext
    if (width % tokenSide !== 0 || height % tokenSide !== 0)
      throw new Error(
        `KontextPolicy: a picture is ${width} × ${height}, needed sides that are multiples of ${tokenSide}. Resize it.`,
      )
    return [(2 * height) / tokenSide, (2 * width) / tokenSide]
  }

  async #pictures(latents: tf.Tensor, h: number, w: number): Promise<RgbImage[]> {
    const side = this.#kontext.tokenSide / 2
    const most = Math.max(1, Math.floor(DECODED_PIXELS / (h * w * side * side)))
    const pictures: RgbImage[] = []
    for (let at = 0; at < latents.shape[0]; at += most) {
      const part = tf.tidy(() => {
        const rows = tf.slice(latents, [at, 0, 0], [Math.min(most, latents.shape[0] - at), -1, -1])
        return unpackLatents(rows, h, w)
      })
      const pixels = await this.#kontext.decode(part)
      pictures.push(...(await tensorToImages(pixels)))
      disposeTree([part, pixels])
    }
    return pictures
  }
}

/** Pixels that are decoded at once. */
const DECODED_PIXELS = 2 ** 22

type Conditions = {
  reference: tf.Tensor
  ids: tf.Tensor
  text: tf.Tensor
  pooled: tf.Tensor
  guidance: tf.Tensor
}

const conditionsOf = ({ reference, ids, text, pooled, guidance }: FlowRows): Conditions => ({
  reference,
  ids,
  text,
  pooled,
  guidance,
})

function velocityOf(
  { transformer: { model } }: Kontext,
  weights: TensorTree,
  x: tf.Tensor,
  sigma: tf.Tensor,
  { ids, guidance, ...conditions }: Conditions,
): tf.Tensor {
  const positions = tf.squeeze(tf.slice(ids, [0, 0, 0], [1, -1, -1]), [0]) // the same for all rows
  const scale = 'guidance' in model.inputs ? { guidance } : {}
  return astype(kontextVelocity(model, weights, x, sigma, { ...conditions, ...scale, ids: positions }), 'f32')
}

/** What the pictures of a policy and its forks share. */
interface Family {
  users: number
  rollout: ReturnType<typeof rolloutOf>
  /** Features of texts whose encoders are gone, [1, …] each. */
  texts: Map<string, TextFeatures>
}

const rolloutOf = (kontext: Kontext) =>
  flowRollout<Conditions>((weights, x, sigma, conditions) => velocityOf(kontext, weights, x, sigma, conditions))

const copied = (tree: TensorTree): TensorTree => mapTensors(tree, t => copy(t))

/** @returns the window of random steps */
function checkedSettings(s: typeof OF_TOKENS & typeof DEFAULTS): readonly [number, number] {
  for (const [name, value] of Object.entries(OF_TOKENS))
    if (s[name as keyof typeof OF_TOKENS] !== value)
      throw new Error(`sample: ${name} is ${String(s[name as keyof typeof OF_TOKENS])}, which an image model does not have. Leave it out.`) // prettier-ignore
  requireWhole('sample', 'num_generations', s.num_generations, 1)
  requireWhole('sample', 'num_inference_steps', s.num_inference_steps, 1)
  requireWhole('sample', 'seed', s.seed, 0)
  requireOneOf('sample', 'sde_type', s.sde_type, ['sde', 'cps'])
  if (s.greedy) return [0, 0]
  if (!(s.noise_level > 0) || (s.sde_type === 'cps' && s.noise_level > 1))
    throw new Error(`sample: noise_level is ${s.noise_level}, needed a number > 0 (cps: ≤ 1); for the ODE use greedy: true.`) // prettier-ignore
  const steps = s.num_inference_steps
  const [from, to] = s.sde_window ?? [0, s.sde_type === 'cps' ? steps - 1 : steps]
  const last = s.sde_type === 'cps' ? steps - 1 : steps // with cps the last step has no deviation
  if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from < to && to <= last))
    throw new Error(`sample: sde_window is [${from}, ${to}], needed 0 ≤ from < to ≤ ${last} for ${steps} steps of ${s.sde_type}.`) // prettier-ignore
  return [from, to]
}
