import * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import type { Fields } from '../io/json.js'
import {
  attention,
  geluTanh,
  layerNorm,
  linear,
  rmsNorm,
  rotaryAngles,
  rotate,
  silu,
  type Linear,
  type Rotary,
} from '../nn/index.js'
import { astype, scan, typeOf, type ElementType, type TensorTree } from '../xla/index.js'
import type { ModelOptions } from './causalModel.js'
import type { ForwardModel } from './forwardModel.js'

/* Letters besides the project's: P image tokens, T text tokens, S = T + P; C width, H heads of size D, L layers of a stack. */

/** Fields of config.json, under diffusers' names. */
export interface FluxTransformerConfig {
  /** Pixels of the latent that a token holds are patch_size² · out_channels on the way out. */
  patch_size: number
  in_channels: number
  out_channels: number
  /** Blocks in which image and text have weights of their own. */
  num_layers: number
  /** Blocks in which they share them. */
  num_single_layers: number
  attention_head_dim: number
  num_attention_heads: number
  joint_attention_dim: number
  pooled_projection_dim: number
  /** Whether the guidance scale is an input, as in models distilled from classifier-free guidance. */
  guidance_embeds: boolean
  /** How many of a head's dimensions each column of the ids turns. */
  axes_dims_rope: number[]
}

/** The weight tree, under diffusers' names. */
interface FluxWeights {
  time_text_embed: { timestep_embedder: Embedder; guidance_embedder?: Embedder; text_embedder: Embedder }
  context_embedder: Linear // [C, joint_attention_dim]
  x_embedder: Linear // [C, in_channels]
  transformer_blocks: TensorTree // DoubleBlock, each tensor [L, …]
  single_transformer_blocks: TensorTree // SingleBlock, each tensor [L, …]
  norm_out: { linear: Linear } // [2·C, C]
  proj_out: Linear // [patch_size² · out_channels, C]
}

interface Embedder {
  linear_1: Linear // [C, in]
  linear_2: Linear // [C, C]
}

interface DoubleBlock {
  norm1: { linear: Linear } // [6·C, C]
  norm1_context: { linear: Linear } // [6·C, C]
  attn: Projections & {
    to_out: { 0: Linear }
    add_q_proj: Linear
    add_k_proj: Linear
    add_v_proj: Linear
    norm_added_q: { weight: tf.Tensor }
    norm_added_k: { weight: tf.Tensor }
    to_add_out: Linear
  }
  ff: FeedForward
  ff_context: FeedForward
}

interface SingleBlock {
  norm: { linear: Linear } // [3·C, C]
  attn: Projections
  proj_mlp: Linear // [4·C, C]
  proj_out: Linear // [C, 5·C]
}

interface Projections {
  to_q: Linear // [C, C]
  to_k: Linear // [C, C]
  to_v: Linear // [C, C]
  norm_q: { weight: tf.Tensor } // [D]
  norm_k: { weight: tf.Tensor } // [D]
}

interface FeedForward {
  net: { 0: { proj: Linear }; 2: Linear } // [4·C, C], [C, 4·C]
}

const EPSILON = 1e-6 // of all norms
const THETA = 10000
/** Size of the sinusoidal embedding of time and guidance. */
const WAVES = 256

/** Reads and checks the config.json of a FLUX transformer.
 * @throws Error naming file and field for values that are missing or unsound */
export function fluxTransformerConfig(fields: Fields): FluxTransformerConfig {
  const size = fields.count('attention_head_dim', 128)
  const axes = fields.get('axes_dims_rope') ?? [16, 56, 56]
  const even = (n: unknown): n is number => Number.isInteger(n) && (n as number) > 0 && (n as number) % 2 === 0
  if (!Array.isArray(axes) || !axes.every(even) || axes.reduce((a, b) => a + b, 0) !== size)
    fields.fail('axes_dims_rope', `even numbers whose sum is attention_head_dim, ${size}`)
  const channels = fields.count('in_channels', 64)
  return {
    patch_size: fields.count('patch_size', 1),
    in_channels: channels,
    out_channels: fields.count('out_channels', channels),
    num_layers: fields.count('num_layers', 19),
    num_single_layers: fields.count('num_single_layers', 38),
    attention_head_dim: size,
    num_attention_heads: fields.count('num_attention_heads', 24),
    joint_attention_dim: fields.count('joint_attention_dim', 4096),
    pooled_projection_dim: fields.count('pooled_projection_dim', 768),
    guidance_embeds: fields.flag('guidance_embeds', false),
    axes_dims_rope: axes,
  }
}

/** FluxTransformer2DModel: the velocity that a flow model of images predicts.
 *
 * Inputs: hidden_states [B, P, in_channels], latent patches; encoder_hidden_states [B, T, joint_attention_dim] and
 * pooled_projections [B, pooled_projection_dim], of the text; timestep [B], the noise level from 0 to 1; guidance [B], the scale, if the
 * config has guidance_embeds; img_ids [P, A] and txt_ids [T, A], a position on each of A axes. Output: sample
 * [B, P, patch_size²·out_channels].
 *
 * Computes in the type of its weights; time, angles, norms with their modulation, activations and softmax in f32. (diffusers in
 * bfloat16 rounds the time as well, before it multiplies it by 1000.)
 * @source diffusers 0.42, models/transformers/transformer_flux.py; the two kinds of block: arXiv 2403.03206 and 2302.05442 */
export function fluxTransformer(
  config: FluxTransformerConfig,
  { gradient_checkpointing = true }: ModelOptions = {},
): ForwardModel {
  const { num_attention_heads: H, attention_head_dim: D, axes_dims_rope, guidance_embeds } = config
  const heads = (x: tf.Tensor, layer: Linear) => tf.reshape(linear(x, layer), [x.shape[0], x.shape[1]!, H, D])

  /** Queries, keys and values of tokens x [B, S, C], each [B, S, H, D]; queries and keys normalised, not rotated yet. */
  function project(x: tf.Tensor, w: Projections): [q: tf.Tensor, k: tf.Tensor, v: tf.Tensor] {
    const q = rmsNorm(heads(x, w.to_q), w.norm_q.weight, EPSILON)
    const k = rmsNorm(heads(x, w.to_k), w.norm_k.weight, EPSILON)
    return [q, k, heads(x, w.to_v)]
  }

  /** Everyone attends to everyone. q, k, v [B, S, H, D] → [B, S, C]. */
  function attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, rotary: Rotary): tf.Tensor {
    const turned = (x: tf.Tensor) => rotate(unpaired(x), rotary)
    return attention(turned(q), tf.transpose(turned(k), [0, 2, 1, 3]), tf.transpose(v, [0, 2, 1, 3]))
  }

  /** Image [B, P, C] and text [B, T, C] with weights of their own, and one attention over both. */
  function doubleBlock({ image, text }: Streams, w: DoubleBlock, time: tf.Tensor, rotary: Rotary): Streams {
    const ofImage = modulation(time, w.norm1.linear, 6)
    const ofText = modulation(time, w.norm1_context.linear, 6)
    const { attn } = w
    const own: Projections = {
      to_q: attn.add_q_proj,
      to_k: attn.add_k_proj,
      to_v: attn.add_v_proj,
      norm_q: attn.norm_added_q,
      norm_k: attn.norm_added_k,
    }
    const qkvOfText = project(modulatedNorm(text, ofText[0]!, ofText[1]!), own)
    const qkvOfImage = project(modulatedNorm(image, ofImage[0]!, ofImage[1]!), attn)
    const [q, k, v] = qkvOfText.map((x, i) => tf.concat([x, qkvOfImage[i]!], 1)) as [tf.Tensor, tf.Tensor, tf.Tensor]
    const [mixedText, mixedImage] = parted(attend(q, k, v, rotary), text.shape[1]!)

    const finish = (x: tf.Tensor, mixed: tf.Tensor, ff: FeedForward, [, , gate, shift, scale, gateFf]: tf.Tensor[]) => {
      const mid = tf.add(x, tf.mul(gate!, mixed))
      const wide = wideGelu(linear(modulatedNorm(mid, shift!, scale!), ff.net[0].proj)) // [B, P or T, 4·C]
      return tf.add(mid, tf.mul(gateFf!, linear(wide, ff.net[2])))
    }
    return {
      image: finish(image, linear(mixedImage, attn.to_out[0]), w.ff, ofImage),
      text: finish(text, linear(mixedText, attn.to_add_out), w.ff_context, ofText),
    }
  }

  /** Text and image as one sequence x [B, S, C]; attention and feed-forward side by side. */
  function singleBlock(x: tf.Tensor, w: SingleBlock, time: tf.Tensor, rotary: Rotary): tf.Tensor {
    const [shift, scale, gate] = modulation(time, w.norm.linear, 3) as [tf.Tensor, tf.Tensor, tf.Tensor]
    const normed = modulatedNorm(x, shift, scale)
    const mixed = attend(...project(normed, w.attn), rotary)
    const wide = wideGelu(linear(normed, w.proj_mlp)) // [B, S, 4·C]
    return tf.add(x, tf.mul(gate, linear(tf.concat([mixed, wide], 2), w.proj_out)))
  }

  /** What modulates all blocks: silu of time, guidance and pooled text together [B, C]. */
  function conditioning(w: FluxWeights['time_text_embed'], inputs: Record<string, tf.Tensor>, type: ElementType) {
    const embed = (x: tf.Tensor, e: Embedder) => linear(wideSilu(linear(astype(x, type), e.linear_1)), e.linear_2)
    const sum = [
      embed(waves(inputs['timestep']!), w.timestep_embedder),
      ...(w.guidance_embedder ? [embed(waves(inputs['guidance']!), w.guidance_embedder)] : []),
      embed(inputs['pooled_projections']!, w.text_embedder),
    ].reduce((a, b) => tf.add(a, b))
    return wideSilu(sum)
  }

  return {
    architecture: 'FluxTransformer2DModel',
    part: 'transformer',
    stem: 'diffusion_pytorch_model',
    parameters: fluxParameters(config),
    inputs: {
      hidden_states: { type: 'float32', shape: ['rows', 'image tokens', config.in_channels] },
      encoder_hidden_states: { type: 'float32', shape: ['rows', 'text tokens', config.joint_attention_dim] },
      pooled_projections: { type: 'float32', shape: ['rows', config.pooled_projection_dim] },
      timestep: { type: 'float32', shape: ['rows'] },
      ...(guidance_embeds ? { guidance: { type: 'float32', shape: ['rows'] } } : {}),
      img_ids: { type: 'float32', shape: ['image tokens', axes_dims_rope.length] },
      txt_ids: { type: 'float32', shape: ['text tokens', axes_dims_rope.length] },
    },

    forward(weights, inputs) {
      const w = weights as unknown as FluxWeights
      const type = typeOf(w.x_embedder.bias!)
      const time = conditioning(w.time_text_embed, inputs, type) // [B, C]
      const rotary = rotaryOfIds(tf.concat([inputs['txt_ids']!, inputs['img_ids']!]), axes_dims_rope)
      const streams: Streams = {
        image: linear(astype(inputs['hidden_states']!, type), w.x_embedder), // [B, P, C]
        text: linear(astype(inputs['encoder_hidden_states']!, type), w.context_embedder), // [B, T, C]
      }
      const remat = gradient_checkpointing
      const double = (x: Streams, w: TensorTree): [Streams, null] => [
        doubleBlock(x, w as unknown as DoubleBlock, time, rotary),
        null,
      ]
      const [{ image, text }] = scan(double, streams, w.transformer_blocks, { remat })
      const single = (x: tf.Tensor, w: TensorTree): [tf.Tensor, null] => [
        singleBlock(x, w as unknown as SingleBlock, time, rotary),
        null,
      ]
      const [joint] = scan(single, tf.concat([text, image], 1), w.single_transformer_blocks, { remat }) // [B, S, C]
      const [, last] = parted(joint, text.shape[1]!)
      const [scale, shift] = modulation(time, w.norm_out.linear, 2) as [tf.Tensor, tf.Tensor]
      return { sample: linear(modulatedNorm(last, shift, scale), w.proj_out) }
    },
  }
}

type Streams = { image: tf.Tensor; text: tf.Tensor }

/** Tokens [B, S, C] as the first `count` and the others. */
function parted(x: tf.Tensor, count: number): [first: tf.Tensor, rest: tf.Tensor] {
  return tf.split(x, [count, x.shape[1]! - count], 1) as [tf.Tensor, tf.Tensor]
}

/** The parts of a linear layer of the conditioning [B, C], each [B, 1, C]. */
const modulation = (time: tf.Tensor, layer: Linear, parts: number): tf.Tensor[] =>
  tf.split(tf.expandDims(linear(time, layer), 1), parts, 2)

/** (x − mean)/√(variance + eps) · (1 + scale) + shift over the last axis, in f32.
 * @param x [B, S, C]
 * @param shift and scale [B, 1, C]
 * @returns [B, S, C] in x's type */
function modulatedNorm(x: tf.Tensor, shift: tf.Tensor, scale: tf.Tensor): tf.Tensor {
  const normed = layerNorm(astype(x, 'f32'), {}, EPSILON)
  return astype(tf.add(tf.mul(normed, tf.add(astype(scale, 'f32'), 1)), astype(shift, 'f32')), typeOf(x))
}

/** An activation computed in f32, and rounded to the type of its argument. */
const inFloat32 =
  (activation: (x: tf.Tensor) => tf.Tensor) =>
  (x: tf.Tensor): tf.Tensor =>
    astype(activation(astype(x, 'f32')), typeOf(x))
const wideSilu = inFloat32(silu)
const wideGelu = inFloat32(geluTanh)

/** Cosines, then sines, of 1000·x · 10000^(−i/128). The exponents are rounded where diffusers rounds them: angles reach thousands.
 * @param x [B], noise level or guidance scale
 * @returns [B, 256] f32 */
function waves(x: tf.Tensor): tf.Tensor {
  const half = WAVES / 2
  const log = Math.fround(-Math.log(THETA))
  const frequencies = Float32Array.from({ length: half }, (_, i) => Math.exp(Math.fround(log * i) / half))
  const angles = tf.mul(tf.reshape(tf.mul(astype(x, 'f32'), 1000), [-1, 1]), tf.tensor1d(frequencies)) // [B, 128]
  return tf.concat([tf.cos(angles), tf.sin(angles)], 1)
}

/** Angles of positions on several axes, one axis after the other along D/2.
 * @param ids [S, A]
 * @returns cos and sin [S, 1, D/2] */
function rotaryOfIds(ids: tf.Tensor, axes: readonly number[]): Rotary {
  const each = tf.unstack(ids, 1).map((positions, i) => rotaryAngles(positions, axes[i]!, THETA))
  return { cos: tf.concat(each.map(r => r.cos), -1), sin: tf.concat(each.map(r => r.sin), -1) } // prettier-ignore
}

/** FLUX rotates the pairs (x[2i], x[2i + 1]), `rotate` the pairs (x[i], x[i + D/2]). Queries and keys may be put in that order, as their
 * products do not depend on it.
 * @param x [B, S, H, D] */
function unpaired(x: tf.Tensor): tf.Tensor {
  const [b, s, h, d] = x.shape as [number, number, number, number]
  return tf.reshape(tf.transpose(tf.reshape(x, [b, s, h, d / 2, 2]), [0, 1, 2, 4, 3]), x.shape)
}

function fluxParameters(config: FluxTransformerConfig): Parameter[] {
  const D = config.attention_head_dim
  const C = config.num_attention_heads * D
  const parameters: Parameter[] = []
  const add = (name: string, shape: number[], layers?: number) =>
    parameters.push({ name, shape, path: name.replace('.*', ''), layers })
  const linears = (prefix: string, layers: number | undefined, sizes: Record<string, [out: number, from: number]>) => {
    for (const [name, [out, from]] of Object.entries(sizes)) {
      add(`${prefix}${name}.weight`, [out, from], layers)
      add(`${prefix}${name}.bias`, [out], layers)
    }
  }
  const norms = (prefix: string, layers: number, names: string[]) =>
    names.forEach(name => add(`${prefix}${name}.weight`, [D], layers))

  linears('time_text_embed.', undefined, {
    'timestep_embedder.linear_1': [C, WAVES],
    'timestep_embedder.linear_2': [C, C],
    ...(config.guidance_embeds
      ? { 'guidance_embedder.linear_1': [C, WAVES], 'guidance_embedder.linear_2': [C, C] }
      : {}),
    'text_embedder.linear_1': [C, config.pooled_projection_dim],
    'text_embedder.linear_2': [C, C],
  })
  linears('', undefined, { context_embedder: [C, config.joint_attention_dim], x_embedder: [C, config.in_channels] })
  linears('transformer_blocks.*.', config.num_layers, {
    'norm1.linear': [6 * C, C],
    'norm1_context.linear': [6 * C, C],
    'attn.to_q': [C, C],
    'attn.to_k': [C, C],
    'attn.to_v': [C, C],
    'attn.to_out.0': [C, C],
    'attn.add_q_proj': [C, C],
    'attn.add_k_proj': [C, C],
    'attn.add_v_proj': [C, C],
    'attn.to_add_out': [C, C],
    'ff.net.0.proj': [4 * C, C],
    'ff.net.2': [C, 4 * C],
    'ff_context.net.0.proj': [4 * C, C],
    'ff_context.net.2': [C, 4 * C],
  })
  norms('transformer_blocks.*.attn.', config.num_layers, ['norm_q', 'norm_k', 'norm_added_q', 'norm_added_k'])
  linears('single_transformer_blocks.*.', config.num_single_layers, {
    'norm.linear': [3 * C, C],
    proj_mlp: [4 * C, C],
    proj_out: [C, 5 * C],
    'attn.to_q': [C, C],
    'attn.to_k': [C, C],
    'attn.to_v': [C, C],
  })
  norms('single_transformer_blocks.*.attn.', config.num_single_layers, ['norm_q', 'norm_k'])
  linears('', undefined, {
    'norm_out.linear': [2 * C, C],
    proj_out: [config.patch_size ** 2 * config.out_channels, C],
  })
  return parameters
}
