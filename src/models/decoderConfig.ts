import type { Fields } from '../io/json.js'
import type { RopeScaling } from '../nn/index.js'

/** Whether a layer's queries see all that stands before them, or the last `sliding_window` tokens. */
export type LayerType = 'full_attention' | 'sliding_attention'

/** Fields of config.json that decoders have in common, under Hugging Face's names. */
export interface DecoderConfig {
  vocab_size: number
  hidden_size: number
  intermediate_size: number
  num_hidden_layers: number
  num_attention_heads: number
  num_key_value_heads: number
  /** Default hidden_size / num_attention_heads. */
  head_dim?: number
  max_position_embeddings: number
  rms_norm_eps: number
  rope_theta: number
  rope_scaling?: RopeScaling
  tie_word_embeddings: boolean
  /** Standard deviation of fresh weights. */
  initializer_range: number
  /** Of each layer. Default: all full. */
  layer_types?: readonly LayerType[]
  /** Tokens that a query of a sliding layer sees, itself among them. */
  sliding_window?: number
}

/** Reads and checks the fields that decoders have in common; {@link layerTypes} come apart.
 * @param defaults what the family takes where a field is left out
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function decoderConfig(fields: Fields, defaults: Partial<DecoderConfig>): DecoderConfig {
  const count = (name: keyof DecoderConfig) => fields.count(name, defaults[name] as number | undefined)
  const heads = count('num_attention_heads')
  const head_dim = fields.get('head_dim') === undefined ? defaults.head_dim : fields.count('head_dim')
  const context = count('max_position_embeddings')
  const rope = fields.within(fields.get('rope_parameters') === undefined ? 'rope_scaling' : 'rope_parameters')
  fields.only('partial_rotary_factor', 1)
  const config: DecoderConfig = {
    vocab_size: count('vocab_size'),
    hidden_size: count('hidden_size'),
    intermediate_size: count('intermediate_size'),
    num_hidden_layers: count('num_hidden_layers'),
    num_attention_heads: heads,
    num_key_value_heads: fields.count('num_key_value_heads', defaults.num_key_value_heads ?? heads),
    ...(head_dim === undefined ? {} : { head_dim }),
    max_position_embeddings: context,
    rms_norm_eps: fields.number('rms_norm_eps', defaults.rms_norm_eps ?? 1e-6),
    ...ropeOf(rope, fields.number('rope_theta', defaults.rope_theta ?? 10000), context),
    tie_word_embeddings: fields.flag('tie_word_embeddings', defaults.tie_word_embeddings ?? false),
    initializer_range: fields.number('initializer_range', 0.02),
  }
  if (head_dim === undefined && config.hidden_size % (2 * heads) !== 0)
    fields.fail('hidden_size', `an even multiple of ${heads} heads`)
  if (head_dim !== undefined && head_dim % 2 !== 0) fields.fail('head_dim', 'an even number')
  if (heads % config.num_key_value_heads !== 0) fields.fail('num_key_value_heads', `a divisor of ${heads} heads`)
  return config
}

/** `layer_types`, and the window of those that slide.
 * @param length how many layers there are
 * @param usual of each layer, where the field is left out
 * @param window where `sliding_window` is left out */
export function layerTypes(
  fields: Fields,
  length: number,
  usual: (layer: number) => LayerType,
  window: number,
): Pick<DecoderConfig, 'layer_types' | 'sliding_window'> {
  const types = fields.get('layer_types') ?? Array.from({ length }, (_, i) => usual(i))
  const known = (type: unknown) => type === 'full_attention' || type === 'sliding_attention'
  if (!Array.isArray(types) || types.length !== length || !types.every(known))
    fields.fail('layer_types', `${length} of "full_attention" or "sliding_attention"`)
  const layer_types = types as LayerType[]
  if (!layer_types.includes('sliding_attention')) return {}
  return { layer_types, sliding_window: fields.count('sliding_window', window) }
}

/** A rotary embedding.
 * @param rope what says it: rope_parameters of transformers 5, rope_scaling of 4
 * @param theta its base, where that does not say it
 * @param context `max_position_embeddings`: the length of training, where that does not say it */
export function ropeOf(
  rope: Fields,
  theta: number,
  context: number,
): Pick<DecoderConfig, 'rope_theta' | 'rope_scaling'> {
  rope.only('partial_rotary_factor', 1)
  return { rope_theta: rope.number('rope_theta', theta), rope_scaling: ropeScaling(rope, context) }
}

function ropeScaling(rope: Fields, context: number): RopeScaling | undefined {
  const field = rope.has('type') ? 'type' : 'rope_type' // the first in older files
  const length = () => rope.count('original_max_position_embeddings', context)
  switch (rope.get(field)) {
    case undefined:
    case 'default':
    case 'mrope': // the default, along several axes
      return undefined
    case 'linear':
      return { rope_type: 'linear', factor: rope.number('factor') }
    case 'llama3':
      return {
        rope_type: 'llama3',
        factor: rope.number('factor'),
        low_freq_factor: rope.number('low_freq_factor'),
        high_freq_factor: rope.number('high_freq_factor'),
        original_max_position_embeddings: length(),
      }
    case 'yarn': {
      for (const unset of ['mscale', 'mscale_all_dim']) rope.only(unset)
      const factor = rope.number('factor')
      return {
        rope_type: 'yarn',
        factor,
        original_max_position_embeddings: length(),
        beta_fast: rope.number('beta_fast', 32),
        beta_slow: rope.number('beta_slow', 1),
        attention_factor: rope.number('attention_factor', factor > 1 ? 0.1 * Math.log(factor) + 1 : 1),
        truncate: rope.flag('truncate', true),
      }
    }
    default:
      return rope.fail(field, '"default", "linear", "llama3" or "yarn"')
  }
}
