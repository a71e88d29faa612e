import * as tf from '@tensorflow/tfjs-core'
import { astype, tensorsOf, typeOf, type TensorTree } from '../xla/index.js'
import type { AutoencoderKl } from './autoencoderKl.js'
import type { ForwardModel, Loaded } from './forwardModel.js'

/* FLUX.1 Kontext: a flow model of images that sees another image, its reference, as more tokens of the same sequence. These are its parts
 * as pure functions, for the pipeline and for policies.
 *
 * Letters besides the project's: C channels and h × w places of latents, P tokens of the target, R of the reference, T of the text. */

/** Latents as tokens: each patch of 2 × 2 places is one.
 * @param latents [B, C, h, w], h and w even
 * @returns [B, h/2·w/2, 4·C]
 * @source diffusers 0.42, FluxKontextPipeline._pack_latents */
export function packLatents(latents: tf.Tensor): tf.Tensor {
  const [b, c, h, w] = latents.shape as [number, number, number, number]
  if (latents.rank !== 4 || h % 2 !== 0 || w % 2 !== 0)
    throw new Error(`packLatents: latents are [${latents.shape.join(', ')}], needed [B, C, h, w] with h and w even.`)
  const patches = tf.reshape(latents, [b, c, h / 2, 2, w / 2, 2])
  return tf.reshape(tf.transpose(patches, [0, 2, 4, 1, 3, 5]), [b, (h / 2) * (w / 2), 4 * c])
}

/** What {@link packLatents} packed.
 * @param tokens [B, h/2·w/2, 4·C]
 * @param height and width of the latents, h and w
 * @returns [B, C, h, w] */
export function unpackLatents(tokens: tf.Tensor, height: number, width: number): tf.Tensor {
  const [b, count, c] = tokens.shape as [number, number, number]
  if (tokens.rank !== 3 || c % 4 !== 0 || count !== (height / 2) * (width / 2))
    throw new Error(
      `unpackLatents: tokens are [${tokens.shape.join(', ')}], needed [B, ${(height * width) / 4}, 4·C] for latents of ` +
        `${height} × ${width}.`,
    )
  const patches = tf.reshape(tokens, [b, height / 2, width / 2, c / 4, 2, 2])
  return tf.reshape(tf.transpose(patches, [0, 3, 1, 4, 2, 5]), [b, c / 4, height, width])
}

/** Positions of the tokens that {@link packLatents} makes, on the transformer's three axes: which image, row, column.
 * @param height and width of the latents, h and w
 * @param first 0 for the target, 1 for the reference
 * @returns [h/2·w/2, 3] */
export function latentImageIds(height: number, width: number, first: 0 | 1): tf.Tensor {
  const grid = [height / 2, width / 2] as [number, number]
  const [columns, rows] = tf.meshgrid(tf.range(0, grid[1]), tf.range(0, grid[0]))
  return tf.reshape(tf.stack([tf.fill(grid, first), rows!, columns!], -1), [-1, 3])
}

/** Sizes that Kontext was trained on, [width, height] in pixels. */
export const PREFERRED_KONTEXT_RESOLUTIONS: readonly (readonly [width: number, height: number])[] = [
  [672, 1568],
  [688, 1504],
  [720, 1456],
  [752, 1392],
  [800, 1328],
  [832, 1248],
  [880, 1184],
  [944, 1104],
  [1024, 1024],
  [1104, 944],
  [1184, 880],
  [1248, 832],
  [1328, 800],
  [1392, 752],
  [1456, 720],
  [1504, 688],
  [1568, 672],
]

/** The size of {@link PREFERRED_KONTEXT_RESOLUTIONS} whose aspect ratio is the nearest; the narrower of two. */
export function preferredResolution(width: number, height: number): { width: number; height: number } {
  const apart = ([w, h]: readonly [number, number]) => Math.abs(width / height - w / h)
  const [w, h] = PREFERRED_KONTEXT_RESOLUTIONS.reduce((best, size) => (apart(size) < apart(best) ? size : best))
  return { width: w, height: h }
}

/** Latents of images as the transformer sees them: the mode, shifted and scaled.
 * @param images [B, H, W, 3], 0 … 1
 * @returns [B, C, h, w] in the type of the autoencoder's weights */
export function encodeImages({ model, weights }: Loaded<AutoencoderKl>, images: tf.Tensor): tf.Tensor {
  const { shift_factor, scaling_factor } = model.config
  const sample = tf.transpose(tf.sub(tf.mul(images, 2), 1), [0, 3, 1, 2])
  const { mean } = model.encode(weights, astype(sample, typeOf(tensorsOf(weights)[0]!)))
  return tf.mul(tf.sub(mean, shift_factor), scaling_factor)
}

/** Images of such latents.
 * @param latents [B, C, h, w]
 * @returns [B, H, W, 3] f32, about 0 … 1, not clipped */
export function decodeLatents({ model, weights }: Loaded<AutoencoderKl>, latents: tf.Tensor): tf.Tensor {
  const { shift_factor, scaling_factor } = model.config
  const sample = model.decode(weights, tf.add(tf.div(latents, scaling_factor), shift_factor))
  return tf.add(tf.div(astype(tf.transpose(sample, [0, 2, 3, 1]), 'f32'), 2), 0.5)
}

/** What the transformer sees besides the target. */
export interface KontextConditions {
  /** The reference image's tokens [B, R, 4·C]. */
  reference: tf.Tensor
  /** Positions of the target's tokens, then of the reference's [P + R, 3]. */
  ids: tf.Tensor
  /** Of the T5 encoder [B, T, joint_attention_dim]. */
  text: tf.Tensor
  /** Of the CLIP encoder [B, pooled_projection_dim]. */
  pooled: tf.Tensor
  /** The scale that a distilled model imitates [B]; for models with guidance_embeds. */
  guidance?: tf.Tensor
}

/** The velocity at noisy tokens of the target, noise less image.
 * @param latents [B, P, 4·C]
 * @param timestep the noise level, 0 … 1 [B]
 * @returns [B, P, 4·C]
 * @source diffusers 0.42, FluxKontextPipeline.__call__; FLUX.1 Kontext, arXiv 2506.15742 */
export function kontextVelocity(
  transformer: ForwardModel,
  weights: TensorTree,
  latents: tf.Tensor,
  timestep: tf.Tensor,
  { reference, ids, text, pooled, guidance }: KontextConditions,
): tf.Tensor {
  const { sample } = transformer.forward(weights, {
    hidden_states: tf.concat([latents, reference], 1),
    encoder_hidden_states: text,
    pooled_projections: pooled,
    timestep,
    ...(guidance && { guidance }),
    img_ids: ids,
    txt_ids: tf.zeros([text.shape[1]!, ids.shape[1]!]),
  })
  return tf.slice(sample!, [0, 0, 0], [-1, latents.shape[1]!, -1])
}
