import * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import type { Fields } from '../io/json.js'
import { attention, conv2d, groupNorm, linear, silu, type Conv2d, type Linear } from '../nn/index.js'
import type { TensorTree } from '../xla/index.js'
import type { ForwardModel } from './forwardModel.js'

/** Fields of config.json, under diffusers' names. */
export interface AutoencoderKlConfig {
  in_channels: number
  out_channels: number
  latent_channels: number
  /** Width at each level; between two levels images are halved. */
  block_out_channels: number[]
  /** ResNet blocks a level of the encoder; the decoder has one more. */
  layers_per_block: number
  norm_num_groups: number
  mid_block_add_attention: boolean
  use_quant_conv: boolean
  use_post_quant_conv: boolean
  /** A pipeline's latents are (latents − shift_factor) · scaling_factor; `encode` and `decode` leave that to it. */
  scaling_factor: number
  shift_factor: number
}

export interface AutoencoderKl extends ForwardModel {
  readonly config: AutoencoderKlConfig
  /** The distribution of latents of images, in channels first as diffusers has them; `mean` is its mode.
   * @param sample [B, in_channels, H, W] in −1 … 1
   * @returns [B, latent_channels, H/f, W/f] each, f = 2^(levels − 1) */
  encode(weights: TensorTree, sample: tf.Tensor): { mean: tf.Tensor; logvar: tf.Tensor }
  /** Images of latents.
   * @param latents [B, latent_channels, h, w]
   * @returns [B, out_channels, f·h, f·w], about −1 … 1, not clipped */
  decode(weights: TensorTree, latents: tf.Tensor): tf.Tensor
}

interface AutoencoderWeights {
  encoder: Coder & { down_blocks: Record<number, Level> }
  decoder: Coder & { up_blocks: Record<number, Level> }
  quant_conv?: Conv2d
  post_quant_conv?: Conv2d
}

/** What encoder and decoder have both. */
interface Coder {
  conv_in: Conv2d
  mid_block: { resnets: Record<number, Resnet>; attentions?: { 0: Attention } }
  conv_norm_out: Norm
  conv_out: Conv2d
}

/** The blocks of one size of images; the last level changes it no more. */
interface Level {
  resnets: Record<number, Resnet>
  downsamplers?: { 0: { conv: Conv2d } }
  upsamplers?: { 0: { conv: Conv2d } }
}

interface Resnet {
  norm1: Norm
  conv1: Conv2d
  norm2: Norm
  conv2: Conv2d
  conv_shortcut?: Conv2d // where the width changes
}

interface Attention {
  group_norm: Norm
  to_q: Linear
  to_k: Linear
  to_v: Linear
  to_out: { 0: Linear }
}

type Norm = { weight: tf.Tensor; bias: tf.Tensor } // [C] each

const EPS = 1e-6
const SAME = { padding: [1, 1] as [number, number] } // of a 3×3 filter

/** Reads and checks the config.json of an AutoencoderKL.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function autoencoderKlConfig(fields: Fields): AutoencoderKlConfig {
  fields.only('act_fn', 'silu')
  fields.only('latents_mean')
  fields.only('latents_std')
  const widths = fields.get('block_out_channels') ?? [64]
  if (
    !Array.isArray(widths) ||
    widths.length < 1 ||
    widths.length > 32 ||
    !widths.every(n => Number.isInteger(n) && n > 0)
  )
    fields.fail('block_out_channels', 'a list of at most 32 integers ≥ 1')
  for (const [name, type] of Object.entries({
    down_block_types: 'DownEncoderBlock2D',
    up_block_types: 'UpDecoderBlock2D',
  })) {
    const types = fields.get(name) ?? [type]
    if (!Array.isArray(types) || types.length !== widths.length || !types.every(t => t === type))
      fields.fail(name, `${widths.length} times "${type}", as block_out_channels has levels`)
  }
  const config: AutoencoderKlConfig = {
    in_channels: fields.count('in_channels', 3),
    out_channels: fields.count('out_channels', 3),
    latent_channels: fields.count('latent_channels', 4),
    block_out_channels: widths as number[],
    layers_per_block: fields.count('layers_per_block', 1, 100),
    norm_num_groups: fields.count('norm_num_groups', 32),
    mid_block_add_attention: fields.flag('mid_block_add_attention', true),
    use_quant_conv: fields.flag('use_quant_conv', true),
    use_post_quant_conv: fields.flag('use_post_quant_conv', true),
    scaling_factor: fields.number('scaling_factor', 0.18215),
    shift_factor: (fields.get('shift_factor') ?? 0) as number,
  }
  if (typeof config.shift_factor !== 'number') fields.fail('shift_factor', 'a number')
  if (config.block_out_channels.some(n => n % config.norm_num_groups !== 0))
    fields.fail('block_out_channels', `multiples of ${config.norm_num_groups} groups (norm_num_groups)`)
  return config
}

/** AutoencoderKL: images to latents and back. As a {@link ForwardModel}: `sample` → `latent_mode`, `latents` → `sample`, either or
 * both. Channels lie last inside, first outside. Computes in the type of its weights; norms and softmax in f32.
 * @source diffusers 0.42, models/autoencoders/autoencoder_kl.py and vae.py; arXiv 2112.10752 */
export function autoencoderKl(config: AutoencoderKlConfig): AutoencoderKl {
  const { norm_num_groups, layers_per_block, latent_channels } = config
  const levels = config.block_out_channels.length
  const norm = (x: tf.Tensor, w: Norm) => groupNorm(x, w, norm_num_groups, EPS)

  /** x [B, H, W, C] → [B, H, W, C'] */
  function resnet(x: tf.Tensor, w: Resnet): tf.Tensor {
    const inner = conv2d(silu(norm(x, w.norm1)), w.conv1, SAME)
    const residual = conv2d(silu(norm(inner, w.norm2)), w.conv2, SAME)
    return tf.add(w.conv_shortcut ? conv2d(x, w.conv_shortcut) : x, residual)
  }

  /** Every place attends to every other, with one head. */
  function attend(x: tf.Tensor, w: Attention): tf.Tensor {
    const [b, h, width, C] = x.shape as [number, number, number, number]
    const tokens = tf.reshape(norm(x, w.group_norm), [b, h * width, C])
    const [q, k, v] = [w.to_q, w.to_k, w.to_v].map(p => linear(tokens, p)) as [tf.Tensor, tf.Tensor, tf.Tensor]
    const mixed = attention(tf.expandDims(q, 2), tf.expandDims(k, 1), tf.expandDims(v, 1)) // [B, H·W, C]
    return tf.add(x, tf.reshape(linear(mixed, w.to_out[0]), x.shape))
  }

  function middle(x: tf.Tensor, { resnets, attentions }: Coder['mid_block']): tf.Tensor {
    const first = resnet(x, resnets[0]!)
    return resnet(attentions ? attend(first, attentions[0]) : first, resnets[1]!)
  }

  const finish = (x: tf.Tensor, w: Coder) => conv2d(silu(norm(x, w.conv_norm_out)), w.conv_out, SAME)

  function level(x: tf.Tensor, { resnets, downsamplers, upsamplers }: Level, blocks: number): tf.Tensor {
    for (let i = 0; i < blocks; i++) x = resnet(x, resnets[i]!)
    if (downsamplers) return conv2d(x, downsamplers[0].conv, { stride: 2, padding: [0, 1] })
    return upsamplers ? conv2d(doubled(x), upsamplers[0].conv, SAME) : x
  }

  function encode(weights: TensorTree, sample: tf.Tensor): { mean: tf.Tensor; logvar: tf.Tensor } {
    const { encoder, quant_conv } = weights as unknown as AutoencoderWeights
    let x = conv2d(tf.transpose(sample, [0, 2, 3, 1]), encoder.conv_in, SAME) // [B, H, W, C]
    for (let i = 0; i < levels; i++) x = level(x, encoder.down_blocks[i]!, layers_per_block)
    const out = finish(middle(x, encoder.mid_block), encoder) // [B, H/f, W/f, 2·latent_channels]
    const moments = tf.transpose(quant_conv ? conv2d(out, quant_conv) : out, [0, 3, 1, 2])
    const [mean, logvar] = tf.split(moments, 2, 1) as [tf.Tensor, tf.Tensor]
    return { mean, logvar: tf.clipByValue(logvar, -30, 20) }
  }

  function decode(weights: TensorTree, latents: tf.Tensor): tf.Tensor {
    const { decoder, post_quant_conv } = weights as unknown as AutoencoderWeights
    const z = tf.transpose(latents, [0, 2, 3, 1]) // [B, h, w, latent_channels]
    let x = middle(conv2d(post_quant_conv ? conv2d(z, post_quant_conv) : z, decoder.conv_in, SAME), decoder.mid_block)
    for (let i = 0; i < levels; i++) x = level(x, decoder.up_blocks[i]!, layers_per_block + 1)
    return tf.transpose(finish(x, decoder), [0, 3, 1, 2])
  }

  return {
    architecture: 'AutoencoderKL',
    stem: 'diffusion_pytorch_model',
    config,
    parameters: autoencoderParameters(config),
    inputs: {
      sample: { type: 'float32', shape: ['images', config.in_channels, 'height', 'width'], optional: true },
      latents: {
        type: 'float32',
        shape: ['latents', latent_channels, 'latent height', 'latent width'],
        optional: true,
      },
    },
    encode,
    decode,
    forward(weights, { sample, latents }) {
      if (!sample && !latents) throw new Error('AutoencoderKL: nothing given, needed sample, latents or both.')
      return {
        ...(sample && { latent_mode: encode(weights, sample).mean }),
        ...(latents && { sample: decode(weights, latents) }),
      }
    },
  }
}

/** Each pixel four times. x [B, H, W, C] → [B, 2·H, 2·W, C] */
function doubled(x: tf.Tensor): tf.Tensor {
  const [b, h, w, C] = x.shape as [number, number, number, number]
  const twice = (parts: tf.Tensor) => tf.concat([parts, parts], 1)
  const wide = twice(tf.reshape(x, [b * h * w, C])) // each pixel beside itself
  return tf.reshape(twice(tf.reshape(wide, [b * h, 2 * w * C])), [b, 2 * h, 2 * w, C]) // each row under itself
}

type Shapes = Record<string, number[]>

function autoencoderParameters(config: AutoencoderKlConfig): Parameter[] {
  const { in_channels, out_channels, latent_channels, layers_per_block, block_out_channels: widths } = config
  const norm = (at: string, C: number): Shapes => ({ [`${at}.weight`]: [C], [`${at}.bias`]: [C] })
  const dense = (at: string, out: number, size: number): Shapes => ({
    [`${at}.weight`]: [out, size],
    [`${at}.bias`]: [out],
  })
  const conv = (at: string, out: number, size: number, side = 3): Shapes => ({
    [`${at}.weight`]: [out, size, side, side],
    [`${at}.bias`]: [out],
  })
  const resnet = (at: string, out: number, size: number): Shapes => ({
    ...norm(`${at}.norm1`, size),
    ...conv(`${at}.conv1`, out, size),
    ...norm(`${at}.norm2`, out),
    ...conv(`${at}.conv2`, out, out),
    ...(out === size ? {} : conv(`${at}.conv_shortcut`, out, size, 1)),
  })
  const attention = (at: string, C: number): Shapes => ({
    ...norm(`${at}.group_norm`, C),
    ...dense(`${at}.to_q`, C, C),
    ...dense(`${at}.to_k`, C, C),
    ...dense(`${at}.to_v`, C, C),
    ...dense(`${at}.to_out.0`, C, C),
  })
  const middle = (at: string, C: number): Shapes => ({
    ...resnet(`${at}.resnets.0`, C, C),
    ...(config.mid_block_add_attention ? attention(`${at}.attentions.0`, C) : {}),
    ...resnet(`${at}.resnets.1`, C, C),
  })
  /** Levels of these widths, the blocks of each, and what ends all but the last. */
  const stack = (at: string, widths: number[], blocks: number, end: string): Shapes =>
    Object.assign(
      {},
      ...widths.flatMap((C, i) => [
        ...Array.from({ length: blocks }, (_, j) =>
          resnet(`${at}.${i}.resnets.${j}`, C, j === 0 ? (widths[i - 1] ?? C) : C),
        ),
        i < widths.length - 1 ? conv(`${at}.${i}.${end}.0.conv`, C, C) : {},
      ]),
    ) as Shapes
  const [first, last] = [widths[0]!, widths.at(-1)!]
  const shapes: Shapes = {
    ...conv('encoder.conv_in', first, in_channels),
    ...stack('encoder.down_blocks', widths, layers_per_block, 'downsamplers'),
    ...middle('encoder.mid_block', last),
    ...norm('encoder.conv_norm_out', last),
    ...conv('encoder.conv_out', 2 * latent_channels, last),
    ...(config.use_quant_conv ? conv('quant_conv', 2 * latent_channels, 2 * latent_channels, 1) : {}),
    ...(config.use_post_quant_conv ? conv('post_quant_conv', latent_channels, latent_channels, 1) : {}),
    ...conv('decoder.conv_in', last, latent_channels),
    ...middle('decoder.mid_block', last),
    ...stack('decoder.up_blocks', widths.toReversed(), layers_per_block + 1, 'upsamplers'),
    ...norm('decoder.conv_norm_out', first),
    ...conv('decoder.conv_out', out_channels, first),
  }
  return Object.entries(shapes).map(([name, shape]) => ({ name, shape, path: name }))
}
