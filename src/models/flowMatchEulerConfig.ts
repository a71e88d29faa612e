import type { Fields } from '../io/json.js'

/** Fields of scheduler_config.json, under diffusers' names. */
export interface FlowMatchEulerConfig {
  /** The factor of the noise levels where `use_dynamic_shifting` is false. */
  shift: number
  /** Larger images spend more of their steps at high noise: between these shifts, by the number of image tokens. */
  use_dynamic_shifting: boolean
  base_shift: number
  max_shift: number
  base_image_seq_len: number
  max_image_seq_len: number
}

/** Reads and checks the scheduler_config.json of a FlowMatchEulerDiscreteScheduler.
 * @throws Error naming file and field for values that are unsound, or ask for what is not supported */
export function flowMatchEulerConfig(fields: Fields): FlowMatchEulerConfig {
  fields.only('_class_name', 'FlowMatchEulerDiscreteScheduler')
  fields.only('time_shift_type', 'exponential')
  fields.only('shift_terminal', null)
  const unsupported = ['invert_sigmas', 'stochastic_sampling']
  const otherSchedules = ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas']
  for (const name of [...unsupported, ...otherSchedules]) fields.only(name, false)
  const config: FlowMatchEulerConfig = {
    shift: fields.number('shift', 1),
    use_dynamic_shifting: fields.flag('use_dynamic_shifting', false),
    base_shift: fields.number('base_shift', 0.5),
    max_shift: fields.number('max_shift', 1.15),
    base_image_seq_len: fields.count('base_image_seq_len', 256),
    max_image_seq_len: fields.count('max_image_seq_len', 4096),
  }
  if (config.max_image_seq_len <= config.base_image_seq_len)
    fields.fail('max_image_seq_len', `more than base_image_seq_len, ${config.base_image_seq_len}`)
  return config
}
