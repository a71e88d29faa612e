import * as tf from '@tensorflow/tfjs-core'
import { requireWhole, resolveConfig } from '../config.js'
import { imagesToTensor, tensorToImages, type RgbImage } from '../io/images.js'
import { resize } from '../io/resize.js'
import {
  kontextVelocity,
  latentImageIds,
  packLatents,
  preferredResolution,
  unpackLatents,
  type Kontext,
  type TextFeatures,
} from '../models/index.js'
import { astype, disposeTree, jit, mapTensors, random, scan, typeOf, type TensorTree } from '../xla/index.js'
import { eulerStep, flowMatchSigmas } from './flowMatchEuler.js'

/** Options of {@link editImage}, under diffusers' names, with its defaults. */
export interface EditOptions {
  /** Of distilled models; it is an input of the transformer. Default 3.5. */
  guidance_scale: number
  /** What to lead away from, where true_cfg_scale is above 1. Default none. */
  negative_prompt: string | TextFeatures | null
  /** Classifier-free guidance: velocity of the negative prompt + this · (that of the prompt − that of the negative prompt). Default 1:
   * none, and half the work. */
  true_cfg_scale: number
  /** Default 28. */
  num_inference_steps: number
  /** Size of the result in pixels before it is fitted to max_area; only the ratio counts. Default that of the image (diffusers: a
   * square). */
  height: number | null
  width: number | null
  /** Pixels of the result, about. Default 1024². */
  max_area: number
  /** Whether the image is brought to one of the sizes that the model was trained on; else its sides are cut to whole tokens. Default
   * true (diffusers: `_auto_resize`). */
  auto_resize: boolean
  /** Tokens of T5. Default as many as its tokenizer names, at most 512. */
  max_sequence_length: number | null
  /** Of the start latents. Default 0. */
  seed: number
  /** Start latents [1, P, 4·C] in place of the seed's, which are not diffusers'. */
  latents: tf.Tensor | null
}

const DEFAULTS: EditOptions = {
  guidance_scale: 3.5,
  negative_prompt: null,
  true_cfg_scale: 1,
  num_inference_steps: 28,
  height: null,
  width: null,
  max_area: 1024 ** 2,
  auto_resize: true,
  max_sequence_length: null,
  seed: 0,
  latents: null,
}

/** Edits an image as an instruction says, with FLUX.1 Kontext: text features, reference latents, all denoising steps and the decoder are
 * a program each.
 * @param prompt the instruction, or its features, which need no text encoders
 * @throws Error for unknown or unsound options
 * @source diffusers 0.42, FluxKontextPipeline.__call__ */
export async function editImage(
  kontext: Kontext,
  image: RgbImage,
  prompt: string | TextFeatures,
  given: Partial<EditOptions> = {},
): Promise<RgbImage> {
  const options = resolveConfig('editImage', DEFAULTS, given)
  const { num_inference_steps, guidance_scale, true_cfg_scale, negative_prompt, max_sequence_length } = options
  requireWhole('editImage', 'num_inference_steps', num_inference_steps, 1)
  if (max_sequence_length !== null) requireWhole('editImage', 'max_sequence_length', max_sequence_length, 1)
  requireWhole('editImage', 'seed', options.seed, 0)
  const { tokenSide, transformer } = kontext
  const target = targetSize(options.width ?? image.width, options.height ?? image.height, options.max_area, tokenSide)
  const source = referenceSize(image, options.auto_resize, tokenSide)
  const [h, w] = [(2 * target.height) / tokenSide, (2 * target.width) / tokenSide] // places of the target's latents
  const channels = kontext.vae.model.config.latent_channels
  const shape = [1, (h * w) / 4, 4 * channels]
  if (options.latents && !tf.util.arraysEqual(options.latents.shape, shape))
    throw new Error(
      `editImage: latents are [${options.latents.shape.join(', ')}], needed [${shape.join(', ')}] for ` +
        `${target.width} × ${target.height} pixels.`,
    )

  const pixels = imagesToTensor([resize(image, source.width, source.height, 'lanczos')])
  const encoded = await kontext.encode(pixels) // [1, C, h', w']
  const prompts = true_cfg_scale > 1 && negative_prompt !== null ? [prompt, negative_prompt] : [prompt]
  const features = async (text: string | TextFeatures) =>
    typeof text === 'string' ? kontext.textFeatures([text], max_sequence_length) : mapTensors(text, t => tf.clone(t))
  const texts = await Promise.all(prompts.map(features))

  const start = options.latents ? tf.clone(options.latents) : noise(options.seed, channels, h, w)
  const sigmas = flowMatchSigmas(kontext.scheduler, num_inference_steps, (h * w) / 4)
  const schedule = { sigma: tf.tensor1d(sigmas.slice(0, -1)), sigmaNext: tf.tensor1d(sigmas.slice(1)) } // [steps] each
  const scales = { guidance: tf.tensor1d([guidance_scale]), cfg: tf.scalar(true_cfg_scale) }

  const denoise = jit(function denoise(weights: TensorTree, given: Given): tf.Tensor {
    return tf.tidy(() => {
      const { encoded, texts, start, schedule, scales } = given
      const [, , rh, rw] = encoded.shape as [number, number, number, number]
      const reference = packLatents(encoded)
      const ids = tf.concat([latentImageIds(h, w, 0), latentImageIds(rh, rw, 1)])
      const guidance = 'guidance' in transformer.model.inputs ? scales.guidance : undefined
      const conditions = texts.map(features => ({ reference, ids, guidance, ...features }))
      const step = (x: tf.Tensor, { sigma, sigmaNext }: Schedule): [tf.Tensor, null] => {
        const [v, away] = conditions.map(c => kontextVelocity(transformer.model, weights, x, tf.reshape(sigma, [1]), c))
        const guided = away ? tf.add(away, tf.mul(scales.cfg, tf.sub(v!, away))) : v!
        return [astype(eulerStep({ x, v: guided, sigma, sigmaNext }), typeOf(x)), null]
      }
      const [tokens] = scan(step, astype(start, typeOf(encoded)), schedule)
      return unpackLatents(tokens, h, w)
    })
  })
  const inputs = { encoded, texts, start, schedule, scales }
  const latents = await denoise.async(transformer.weights, inputs)
  const result = await kontext.decode(latents)
  const [edited] = await tensorToImages(result)
  disposeTree([pixels, inputs, latents, result])
  return edited!
}

type Schedule = { sigma: tf.Tensor; sigmaNext: tf.Tensor }
type Given = {
  encoded: tf.Tensor
  /** Of the prompt, and of the negative prompt if there is one. */
  texts: TextFeatures[]
  start: tf.Tensor
  schedule: Schedule
  scales: { guidance: tf.Tensor; cfg: tf.Tensor }
}

/** Start latents of a target of h × w places [1, P, 4·C]. */
const noise = (seed: number, channels: number, h: number, w: number): tf.Tensor =>
  tf.tidy(() => packLatents(random.normal(random.key(seed), [1, channels, h, w])))

interface Size {
  width: number
  height: number
}

/** The size of about `area` pixels with this ratio of sides, in whole tokens. */
function targetSize(width: number, height: number, area: number, side: number): Size {
  const along = (n: number, other: number) => wholeTokens(Math.round(Math.sqrt(area * (n / other))), side)
  const size = { width: along(width, height), height: along(height, width) }
  if (!(size.width > 0 && size.height > 0))
    throw new Error(
      `editImage: ${width} × ${height} pixels fitted to max_area ${area} leave ${size.width} × ${size.height}, needed at least ` +
        `${side} a side. Raise max_area.`,
    )
  return size
}

/** The size that the reference is brought to: the nearest of those that the model was trained on, or its own, in whole tokens. */
function referenceSize(image: Size, auto: boolean, side: number): Size {
  const cut = ({ width, height }: Size) => ({ width: wholeTokens(width, side), height: wholeTokens(height, side) })
  const { width, height } = cut(image)
  if (width === 0 || height === 0)
    throw new Error(`editImage: the image is ${image.width} × ${image.height} pixels, needed at least ${side} a side.`)
  return auto ? cut(preferredResolution(width, height)) : { width, height }
}

const wholeTokens = (pixels: number, side: number): number => pixels - (pixels % side)
