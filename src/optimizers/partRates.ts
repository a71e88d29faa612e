import type { Policy } from '../policies/policy.js'
import { eachTensor } from '../xla/tree.js'
import { learningRate, type LearningRateConfig } from './learningRate.js'

/** Peak learning rates of parts of a vision-language model; names are those of Qwen-VL's fine-tuning. */
export interface PartRates {
  /** Peak rate of the vision tower, where it learns. Default null: `learning_rate`. */
  vision_tower_lr: number | null
  /** Peak rate of what connects the tower with the language model. Default null: `learning_rate`. */
  mm_projector_lr: number | null
}

export const partRatesDefaults: PartRates = { vision_tower_lr: null, mm_projector_lr: null }

const given = (config: PartRates) =>
  (Object.keys(partRatesDefaults) as (keyof PartRates)[]).filter(name => config[name] !== null)

/** @throws naming a rate that is out of range */
export function checkPartRates(where: string, config: PartRates): void {
  for (const name of given(config))
    if (!(Number(config[name]) >= 0)) throw new Error(`${where}: ${name} is ${config[name]}, needs 0 or more, or null.`)
}

/** @throws naming a rate of which the policy has nothing that learns */
export function checkLearningParts(where: string, config: PartRates, policy: Policy): void {
  const learn = new Set<string | null>()
  eachTensor(policy.weights.trainable, (_, path) => learn.add(rateOf(policy, path)))
  for (const name of given(config).filter(name => !learn.has(name)))
    throw new Error(
      `${where}: ${name} is ${config[name]}, but no weight of that part learns. Leave it out, or load the policy with ` +
        `${name === 'vision_tower_lr' ? 'tune_mm_vision' : 'tune_mm_mlp'}: true.`,
    )
}

/** The name of the rate that a weight may have of its own. */
export function rateOf(policy: Pick<Policy, 'partOf'>, path: string): keyof PartRates | null {
  const part = policy.partOf?.(path)
  return part === undefined ? null : `${part}_lr`
}

/** All rates of a step: `learning_rate`, and of parts that have their own, on the same schedule.
 * @source transformers' schedulers, which scale all groups of parameters alike */
export function learningRates(
  step: number,
  steps: number,
  config: LearningRateConfig & PartRates,
): Record<'learning_rate', number> & Partial<Record<keyof PartRates, number>> {
  const rate = learningRate(step, steps, config)
  const share = config.learning_rate === 0 ? learningRate(step, steps, { ...config, learning_rate: 1 }) : rate / config.learning_rate // prettier-ignore
  return { learning_rate: rate, ...Object.fromEntries(given(config).map(name => [name, share * config[name]!])) }
}
