/** Names that GRPO trainers for Qwen-VL give to fields which have TRL's names here. */
const TRL_NAMES = {
  grpo_beta: 'beta',
  grpo_sample_size: 'num_generations',
  generation_temperature: 'temperature',
  generation_top_p: 'top_p',
  generation_max_length: 'max_completion_length',
} as const

export type QwenVlGrpoConfig = { [name in keyof typeof TRL_NAMES]?: number }

/** A configuration under TRL's names.
 * @throws if a field is given under both */
export function withTrlNames<T extends object>(where: string, given: T & QwenVlGrpoConfig): T {
  const names: Readonly<Record<string, string>> = TRL_NAMES
  const twice = Object.keys(given).find(key => key in names && names[key]! in given)
  if (twice) throw new Error(`${where}: ${twice} and ${names[twice]} are both given, and are the same. Leave one out.`)
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [names[key] ?? key, value])) as T
}
