import * as tf from '@tensorflow/tfjs-core'
import type { Parameter } from '../io/checkpoint.js'
import type { Fields } from '../io/json.js'
import {
  attention,
  gatedMlp,
  gelu,
  linear,
  rmsNorm,
  rotaryAngles,
  rotate,
  type GatedMlp,
  type Linear,
} from '../nn/index.js'
import { astype, scan, typeOf, type TensorTree } from '../xla/index.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { decoder, headSize } from './decoder.js'
import { decoderConfig, type DecoderConfig } from './decoderConfig.js'
import { llamaParts } from './llama.js'
import { parametersOf } from './parametersOf.js'
import { patchVision, type PatchLayout, type Patches } from './patchLayout.js'
import { qwenLayerTypes } from './qwen2.js'
import type { Seen, Vision } from './vision.js'

/** Fields of config.json, under Hugging Face's names; those of the language model may stand in `text_config` or beside the others. */
export interface Qwen25VlConfig {
  text: DecoderConfig
  vision: Qwen25VlVisionConfig
  /** Frequencies of the rotary embedding that turn with time, row and column. */
  mrope_section: readonly number[]
  image_token_id: number
  video_token_id: number
}

export interface Qwen25VlVisionConfig {
  depth: number // L
  hidden_size: number // C
  intermediate_size: number // I
  num_heads: number // H
  in_channels: number
  patch_size: number
  temporal_patch_size: number
  spatial_merge_size: number
  /** Side of a window of attention, in pixels. */
  window_size: number
  /** Blocks whose patches see their whole frame, not their window. */
  fullatt_block_indexes: readonly number[]
  /** Width of the language model. */
  out_hidden_size: number
  tokens_per_second: number
  rope_theta: number
}

/** Reads and checks a config.json of Qwen2.5-VL.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function qwen25VlConfig(fields: Fields): Qwen25VlConfig {
  const text = fields.has('text_config') ? fields.within('text_config') : fields
  text.only('hidden_act', 'silu')
  const usual = { rms_norm_eps: 1e-5, rope_theta: 1e6, num_key_value_heads: 8, max_position_embeddings: 32768 }
  const config: DecoderConfig = {
    ...decoderConfig(text, usual),
    ...qwenLayerTypes(text),
    tie_word_embeddings: fields.flag('tie_word_embeddings', text.flag('tie_word_embeddings', false)),
  }
  const rope = text.within(text.has('rope_parameters') ? 'rope_parameters' : 'rope_scaling')
  const sections = rope.get('mrope_section') ?? [16, 24, 24]
  const half = headSize(config) / 2
  if (!Array.isArray(sections) || sections.reduce((sum: number, n: number) => sum + n, 0) !== half)
    rope.fail('mrope_section', `numbers whose sum is ${half}, half a head`)
  const vision = visionConfig(fields.within('vision_config'))
  if (vision.out_hidden_size !== config.hidden_size)
    fields.within('vision_config').fail('out_hidden_size', `${config.hidden_size}, the width of the language model`)
  return {
    text: config,
    vision,
    mrope_section: sections as number[],
    image_token_id: fields.count('image_token_id', 151655),
    video_token_id: fields.count('video_token_id', 151656),
  }
}

function visionConfig(fields: Fields): Qwen25VlVisionConfig {
  fields.only('hidden_act', 'silu')
  const config = {
    depth: fields.count('depth', 32),
    hidden_size: fields.count('hidden_size', 3584),
    intermediate_size: fields.count('intermediate_size', 3420),
    num_heads: fields.count('num_heads', 16),
    in_channels: fields.count('in_channels', 3),
    patch_size: fields.count('patch_size', 14),
    temporal_patch_size: fields.count('temporal_patch_size', 2),
    spatial_merge_size: fields.count('spatial_merge_size', 2),
    window_size: fields.count('window_size', 112),
    out_hidden_size: fields.count('out_hidden_size', 3584),
    tokens_per_second: fields.number('tokens_per_second', 4),
    rope_theta: fields.within('rope_parameters').number('rope_theta', 10000),
  }
  if (config.hidden_size % (4 * config.num_heads) !== 0)
    fields.fail(
      'hidden_size',
      `a multiple of four times ${config.num_heads} heads: rows and columns turn pairs of numbers`,
    )
  if (config.window_size < config.patch_size * config.spatial_merge_size)
    fields.fail('window_size', `at least ${config.patch_size * config.spatial_merge_size}, the side of a token`)
  const full = fields.get('fullatt_block_indexes') ?? [7, 15, 23, 31]
  if (!Array.isArray(full) || !full.every(n => Number.isInteger(n)))
    fields.fail('fullatt_block_indexes', 'numbers of blocks')
  return { ...config, fullatt_block_indexes: full as number[] }
}

/** Qwen2_5_VLForConditionalGeneration: a vision tower whose features stand in place of some tokens of Qwen2's language model, where tokens have
 * a time, a row and a column.
 * @source transformers 5.23, models/qwen2_5_vl/modeling_qwen2_5_vl.py; arXiv 2502.13923 */
export function qwen25Vl(config: Qwen25VlConfig, options?: ModelOptions): CausalModel {
  const language = decoder(
    {
      architecture: 'Qwen2_5_VLForConditionalGeneration',
      prefix: 'model.language_model',
      mrope_section: config.mrope_section,
      ...llamaParts(config.text, { biases: ['q_proj', 'k_proj', 'v_proj'] }),
    },
    options,
  )
  return {
    ...language,
    parameters: [...language.parameters, ...visionParameters(config.vision)],
    vision: qwen25VlVision(config, options),
    // Checkpoints have the names of transformers 4; PEFT calls the modules by those of 5.
    nameOf: stored =>
      stored
        .replace(/^visual\./, 'model.visual.')
        .replace(/^model\.(?!visual\.|language_model\.)/, 'model.language_model.'),
  }
}

/** The weights of the tower. */
interface VisionTower {
  patch_embed: { proj: { weight: tf.Tensor } } // [C, channels, times, P, P]
  blocks: TensorTree // VisionBlock, each tensor [L, …]
  merger: { ln_q: { weight: tf.Tensor }; mlp: { 0: Linear; 2: Linear } } // [C], [4C, 4C], [out, 4C]
}

interface VisionBlock {
  norm1: { weight: tf.Tensor } // [C]
  attn: { qkv: Linear; proj: Linear } // [3C, C], [C, C]
  norm2: { weight: tf.Tensor } // [C]
  mlp: GatedMlp // [I, C]
}

const EPS = 1e-6 // of the tower's norms, whatever the language model's

/** The tower: patches see their window, or in some blocks their whole frame, and units of merge² of them become tokens. */
function qwen25VlVision(
  config: Qwen25VlConfig,
  { gradient_checkpointing: remat = true }: ModelOptions = {},
): Vision & PatchLayout {
  const { hidden_size: C, num_heads: H, spatial_merge_size: merge, ...sizes } = config.vision
  const full = Array.from({ length: sizes.depth }, (_, i) => sizes.fullatt_block_indexes.includes(i))

  function see(weights: TensorTree, patches: Seen['patches']): tf.Tensor {
    const { values, positions, windows, frames } = patches as Patches
    const w = (weights as unknown as { visual: VisionTower }).visual
    const [N, S] = values.shape as [number, number]
    const patch = w.patch_embed.proj.weight
    const x = linear(astype(values, typeOf(patch)), { weight: tf.reshape(patch, [C, -1]) }) // [N, S, C]

    const angles = rotaryAngles(positions, C / H / 2, sizes.rope_theta) // [N, 2, S, 1, D/4]
    const both = (x: tf.Tensor) => tf.concat(tf.unstack(x, 1), -1) // [N, S, 1, D/2]: rows, then columns
    const rotary = { cos: both(angles.cos), sin: both(angles.sin) }

    function block(x: tf.Tensor, one: { weights: TensorTree; full: tf.Tensor }): [tf.Tensor, null] {
      const { norm1, attn, norm2, mlp } = one.weights as unknown as VisionBlock
      const qkv = tf.reshape(linear(rmsNorm(x, norm1.weight, EPS), attn.qkv), [N, S, 3, H, C / H])
      const [q, k, v] = tf.unstack(qkv, 2) as [tf.Tensor, tf.Tensor, tf.Tensor] // [N, S, H, D]
      const turned = (x: tf.Tensor) => tf.transpose(x, [0, 2, 1, 3]) // [N, H, S, D]
      const segment = tf.where(one.full, frames, windows) // [N, S]
      const mask = { segments: { q: segment, kv: segment } }
      const mixed = attention(rotate(q, rotary), turned(rotate(k, rotary)), turned(v), mask) // [N, S, C]
      const mid = tf.add(x, linear(mixed, attn.proj))
      return [tf.add(mid, gatedMlp(rmsNorm(mid, norm2.weight, EPS), mlp)), null]
    }
    const [last] = scan(block, x, { weights: w.blocks, full: tf.tensor1d(full, 'bool') }, { remat })
    const units = tf.reshape(rmsNorm(last, w.merger.ln_q.weight, EPS), [N, -1, merge ** 2 * C]) // [N, M, 4C]
    return linear(gelu(linear(units, w.merger.mlp[0])), w.merger.mlp[2]) // [N, M, out]
  }

  const layout = {
    image_token_id: config.image_token_id,
    video_token_id: config.video_token_id,
    spatial_merge_size: merge,
    window: Math.floor(Math.floor(sizes.window_size / merge) / sizes.patch_size),
    tokens_per_second: sizes.tokens_per_second,
    patch: sizes.in_channels * sizes.temporal_patch_size * sizes.patch_size ** 2,
  }
  return { ...patchVision(layout), see }
}

function visionParameters(config: Qwen25VlVisionConfig): Parameter[] {
  const { hidden_size: C, intermediate_size: I, patch_size: P, depth: layers } = config
  const wide = config.spatial_merge_size ** 2 * C
  const biased = (name: string, out: number, size: number) => ({
    [`${name}.weight`]: [out, size],
    [`${name}.bias`]: [out],
  })
  const shapes = {
    'patch_embed.proj.weight': [C, config.in_channels, config.temporal_patch_size, P, P],
    'blocks.*.norm1.weight': [C],
    ...biased('blocks.*.attn.qkv', 3 * C, C),
    ...biased('blocks.*.attn.proj', C, C),
    'blocks.*.norm2.weight': [C],
    ...biased('blocks.*.mlp.gate_proj', I, C),
    ...biased('blocks.*.mlp.up_proj', I, C),
    ...biased('blocks.*.mlp.down_proj', C, I),
    'merger.ln_q.weight': [C],
    ...biased('merger.mlp.0', wide, wide),
    ...biased('merger.mlp.2', config.out_hidden_size, wide),
  }
  return parametersOf(layers, shapes, 'model.visual.', 'visual.')
}
