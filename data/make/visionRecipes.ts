import {
  chartQuestions,
  clutteredSymbols,
  MODERATION_QUESTION,
  moderationReply,
  movingShapes,
  rng,
  SYMBOL_LABELS,
} from '../../src/datasets/index.js'
import type { VisionPrompt } from '../../src/policies/index.js'
import { actionReplies } from './actionReplies.js'
import { chartReplies } from './chartReplies.js'

export interface Example {
  prompt: VisionPrompt
  completion: string
}

export interface Recipe {
  steps: number
  batch: number
  vocabulary: number
  /** What the tokenizer should know besides the examples' words. */
  words?: string[]
  /** The last ids of the vocabulary; the first pads, the last ends a turn. */
  specials: string[]
  /** config.json, given the ids of special tokens. */
  config: (id: (special: string) => number) => { text_config: object }
  processor: object
  chat_template: string
  /** Of tokenizer_config.json, besides what all have. */
  tokenizer?: object
  /** What scales of the language model's norms start from. */
  norm: number
  /** Examples to train on, of an epoch, other ones each time; towards the end with faults. */
  examples: (epoch: number, faulty: boolean) => Example[]
  data: string
}

/** Tokens that prompt and completion may have. */
export const CONTEXT = 512
const VOCABULARY = 384
const EPOCH = 1250 // of which nine tenths are training data
const WIDTH = 128
const TEXT = {
  vocab_size: VOCABULARY,
  hidden_size: WIDTH,
  intermediate_size: 384,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: CONTEXT,
  rms_norm_eps: 1e-6,
}
const TOWER = { hidden_size: 96, intermediate_size: 192, patch_size: 8 }
const HALVES = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] }

/** A template of turns whose parts may be pictures. */
const template = (open: string, close: string, marks: Record<string, string>, ask: string, first = ''): string =>
  `{{ '${first}' }}{% for message in messages %}{{ ${open} }}{% if message['content'] is string %}{{ message['content'] }}{% else %}` +
  `{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}` +
  Object.entries(marks)
    .map(([type, mark]) => `{% elif part['type'] == '${type}' %}{{ '${mark}' }}`)
    .join('') + // prettier-ignore
  `{% endif %}{% endfor %}{% endif %}{{ ${close} }}{% endfor %}{% if add_generation_prompt %}{{ ${ask} }}{% endif %}`

const asked = (content: string) => [{ role: 'user', content }]

const FIGURE_NAMES = ['circle', 'cross', 'ring', 'square', 'star', 'triangle']

export const RECIPES: Record<string, Recipe> = {
  'tiny-qwen2.5-vl': {
    steps: 1000,
    batch: 32,
    vocabulary: VOCABULARY,
    norm: 1,
    specials: ['<|endoftext|>', '<|vision_start|>', '<|vision_end|>', '<|image_pad|>', '<|video_pad|>', '<|im_start|>', '<|im_end|>'], // prettier-ignore
    config: id => ({
      architectures: ['Qwen2_5_VLForConditionalGeneration'],
      model_type: 'qwen2_5_vl',
      image_token_id: id('<|image_pad|>'),
      video_token_id: id('<|video_pad|>'),
      vision_start_token_id: id('<|vision_start|>'),
      vision_end_token_id: id('<|vision_end|>'),
      tie_word_embeddings: true,
      text_config: {
        ...TEXT,
        model_type: 'qwen2_5_vl_text',
        hidden_act: 'silu',
        rope_parameters: { rope_type: 'default', rope_theta: 10000, mrope_section: [4, 6, 6] },
      },
      vision_config: {
        ...TOWER,
        model_type: 'qwen2_5_vl_vision',
        depth: 2,
        num_heads: 3,
        in_channels: 3,
        temporal_patch_size: 2,
        spatial_merge_size: 2,
        window_size: 32,
        fullatt_block_indexes: [0, 1],
        out_hidden_size: WIDTH,
        tokens_per_second: 2,
        hidden_act: 'silu',
      },
    }),
    processor: {
      processor_class: 'Qwen2_5_VLProcessor',
      image_processor: qwenPixels({ image_processor_type: 'Qwen2VLImageProcessor' }),
      video_processor: qwenPixels({ video_processor_type: 'Qwen2VLVideoProcessor', min_frames: 4, max_frames: 12, fps: 2 }), // prettier-ignore
    },
    chat_template: template(
      "'<|im_start|>' + message['role'] + '\\n'",
      "'<|im_end|>\\n'",
      { image: '<|vision_start|><|image_pad|><|vision_end|>', video: '<|vision_start|><|video_pad|><|vision_end|>' },
      "'<|im_start|>assistant\\n'",
    ),
    examples(epoch, faulty) {
      const clips = movingShapes({ seed: 1000 + epoch, size: EPOCH }).train
      const replies = actionReplies(clips, epoch, faulty)
      return clips.map(({ prompt }, i) => ({ prompt, completion: replies[i]! }))
    },
    data: 'generated: movingShapes (src/datasets), actionReplies (data/make)',
  },

  'tiny-gemma3-vl': {
    steps: 1200,
    batch: 32,
    vocabulary: VOCABULARY,
    norm: 0, // Gemma scales by 1 + w
    specials: ['<pad>', '<bos>', '<start_of_image>', '<end_of_image>', '<image_soft_token>', '<start_of_turn>', '<end_of_turn>'], // prettier-ignore
    config: id => ({
      architectures: ['Gemma3ForConditionalGeneration'],
      model_type: 'gemma3',
      boi_token_index: id('<start_of_image>'),
      eoi_token_index: id('<end_of_image>'),
      image_token_index: id('<image_soft_token>'),
      mm_tokens_per_image: 9,
      tie_word_embeddings: true,
      text_config: {
        ...TEXT,
        model_type: 'gemma3_text',
        hidden_activation: 'gelu_pytorch_tanh',
        head_dim: 32,
        query_pre_attn_scalar: 32,
        layer_types: ['sliding_attention', 'sliding_attention', 'full_attention'],
        sliding_window: 128,
        rope_theta: 10000,
        rope_local_base_freq: 10000,
      },
      vision_config: {
        ...TOWER,
        model_type: 'siglip_vision_model',
        image_size: 48,
        num_channels: 3,
        num_attention_heads: 3,
        num_hidden_layers: 2,
        layer_norm_eps: 1e-6,
        hidden_act: 'gelu_pytorch_tanh',
        vision_use_head: false,
      },
    }),
    processor: {
      processor_class: 'Gemma3Processor',
      image_seq_length: 9,
      image_processor: {
        image_processor_type: 'Gemma3ImageProcessor',
        do_convert_rgb: true,
        do_resize: true,
        do_rescale: true,
        do_normalize: true,
        rescale_factor: 1 / 255,
        resample: 2,
        size: { height: 48, width: 48 },
        ...HALVES,
      },
    },
    tokenizer: { boi_token: '<start_of_image>', eoi_token: '<end_of_image>', image_token: '<image_soft_token>' },
    chat_template: template(
      "'<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n'",
      "'<end_of_turn>\\n'",
      { image: '<start_of_image>' },
      "'<start_of_turn>model\\n'",
      '<bos>',
    ),
    examples(epoch, faulty) {
      const questions = chartQuestions({ seed: epoch, size: EPOCH }).train
      const replies = chartReplies(questions, epoch, faulty)
      return questions.map(({ prompt }, i) => ({ prompt, completion: replies[i]! }))
    },
    data: 'generated: chartQuestions (src/datasets), chartReplies (data/make)',
  },

  'tiny-llava': {
    steps: 1600,
    batch: 32,
    vocabulary: 330,
    words: [MODERATION_QUESTION, ...Object.keys(SYMBOL_LABELS), moderationReply([])],
    norm: 1,
    specials: ['<pad>', '<s>', '<image>', '</s>'],
    config: id => ({
      architectures: ['LlavaForConditionalGeneration'],
      model_type: 'llava',
      image_token_index: id('<image>'),
      image_seq_length: 25,
      projector_hidden_act: 'gelu',
      multimodal_projector_bias: true,
      vision_feature_layer: -2,
      vision_feature_select_strategy: 'default',
      tie_word_embeddings: true,
      text_config: {
        ...TEXT,
        vocab_size: 330,
        model_type: 'llama',
        hidden_act: 'silu',
        rope_theta: 10000,
        tie_word_embeddings: true,
      },
      vision_config: {
        ...TOWER,
        model_type: 'clip_vision_model',
        image_size: 40,
        num_channels: 3,
        num_attention_heads: 3,
        num_hidden_layers: 3, // the last is not read
        layer_norm_eps: 1e-5,
        hidden_act: 'quick_gelu',
        projection_dim: WIDTH,
      },
    }),
    processor: {
      processor_class: 'LlavaProcessor',
      image_token: '<image>',
      num_additional_image_tokens: 1,
      patch_size: TOWER.patch_size,
      vision_feature_select_strategy: 'default',
      image_processor: {
        image_processor_type: 'CLIPImageProcessor',
        do_convert_rgb: true,
        do_resize: true,
        do_center_crop: true,
        do_rescale: true,
        do_normalize: true,
        rescale_factor: 1 / 255,
        resample: 3,
        size: { shortest_edge: 40 },
        crop_size: { height: 40, width: 40 },
        ...HALVES,
      },
    },
    chat_template: template(
      "('USER: ' if message['role'] == 'user' else 'ASSISTANT: ')",
      "('\\n' if message['role'] == 'user' else '</s>')",
      { image: '<image>\\n' },
      "'ASSISTANT:'",
      '<s>',
    ),
    examples(epoch) {
      const random = rng(epoch)
      return clutteredSymbols({ seed: epoch, size: EPOCH, prevalence: 0.5 }).train.map(({ image, figures }) => {
        const asks = random.uniform() < 0.25 ? random.pick(FIGURE_NAMES) : null
        const question = asks ? `Is there a ${asks}? Answer in <answer> </answer>.` : 'Which figures are there?'
        const completion = asks ? `<answer>${figures.includes(asks) ? 'yes' : 'no'}</answer>` : figures.join(', ')
        return { prompt: { prompt: asked(question), images: [image] }, completion }
      })
    },
    data: 'generated: clutteredSymbols (src/datasets)',
  },
}

function qwenPixels(kind: object): object {
  return {
    ...kind,
    ...HALVES,
    patch_size: TOWER.patch_size,
    merge_size: 2,
    temporal_patch_size: 2,
    size: { shortest_edge: 256, longest_edge: 65536 },
  }
}
