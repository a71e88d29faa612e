import type { Policy } from '../policies/policy.js'
import { advantageShares, scalarize, type RunningStatistics, type WeightedRewards } from '../rewards/index.js'
import { requireOneOf, resolveConfig } from '../config.js'
import {
  checkPolicyGradientConfig,
  comparedWithBaseline,
  policyGradient,
  policyGradientDefaults,
  type AdvantageFunction,
  type PolicyGradientConfig,
} from './policyGradient.js'
import type { PromptRow } from './rollout.js'
import type { Run } from './run.js'
import type { Live } from './train.js'
import type { TrainState } from './trainState.js'

/** Configuration of SRPO: GRPO's, with what makes one reward out of several. */
export interface SrpoConfig extends PolicyGradientConfig {
  /** What a component is measured in before it is weighted: itself, standard deviations in its prompt's group, or
   * standard deviations of all scores so far. */
  normalization: 'none' | 'group' | 'running'
  /** `linear`: Σ wᵢzᵢ; `chebyshev`: the component furthest below its ideal counts alone. */
  scalarization: 'linear' | 'chebyshev'
  /** Weights set at the run's start, `{ format: 1 }`, or moving in a straight line over it, `{ format: [1, 0.2] }`.
   * Components left out keep the weight of `rewards`, which may be changed live. */
  reward_weights: Readonly<Record<string, number | readonly [from: number, to: number]>>
}

/** As GRPO's, but the scalarized reward is not divided by a deviation again: the policy gradient of R − b. */
export const srpoDefaults: SrpoConfig = {
  ...policyGradientDefaults,
  scale_rewards: 'none',
  normalization: 'group',
  scalarization: 'linear',
  reward_weights: {},
}

/** Trains a policy by Scalarized Reward Policy Optimization: the policy gradient of R − b with R = Σ wᵢzᵢ, where each
 * component is normalised by itself (zᵢ) and stays visible: rows hold its weight, what it contributes to the weighted
 * reward, wᵢ·mean rᵢ, and its share of the advantage (`weights/<name>`, `contributions/<name>`, `advantage_share/<name>`;
 * shares add up to 1). Loss and loop are GRPO's.
 *
 * Not Tencent's SRPO (Semantic Relative Preference Optimization, for FLUX), which has only the name in common.
 * @param dataset rows with `prompt`; other columns go to the rewards
 * @param state of an earlier run, to go on from
 * @throws if the configuration or the data set does not fit, before anything is drawn */
export function srpo<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  dataset: readonly PromptRow<Prompt>[],
  rewards: WeightedRewards,
  args: Partial<SrpoConfig> = {},
  state?: TrainState,
): Run {
  const config = resolveSrpoConfig(args, rewards.names)
  const { num_generations, normalization, scalarization } = config

  const advantage: AdvantageFunction = (scores, weights, live) => {
    const statistics = statisticsOf(live)
    const options = { weights, normalization, scalarization, num_generations, ...(statistics && { statistics }) }
    const scalarized = scalarize(scores, options)
    const compared = comparedWithBaseline([scalarized.reward], [1], config, live)
    const shares = advantageShares(scalarized, { num_generations })
    const scored = scores[0]!.filter((_, n) => scores.some(row => row[n] !== null)).length
    const metrics: Record<string, number> = { frac_reward_zero_std: compared.fracZeroStd }
    rewards.names.forEach((name, k) => {
      const total = scores[k]!.reduce<number>((sum, score) => sum + (score ?? 0), 0)
      metrics[`contributions/${name}`] = (weights[k]! * total) / Math.max(1, scored)
      metrics[`advantage_share/${name}`] = shares[k]!
    })
    return { advantages: compared.advantages, metrics, live: { ...compared.live, ...scalarized.statistics } }
  }

  return policyGradient({
    name: 'srpo',
    policy,
    dataset,
    rewards,
    config,
    state,
    advantage,
    scheduled: (step, steps) => weightsAt(config.reward_weights, step, steps),
  })
}

/** The prescribed weights of a step: constants at the first, schedules at each. */
function weightsAt(weights: SrpoConfig['reward_weights'], step: number, steps: number): Record<string, number> {
  const entries = Object.entries(weights).flatMap(([name, weight]): [string, number][] => {
    if (typeof weight === 'number') return step === 0 ? [[name, weight]] : []
    return [[name, weight[0] + ((weight[1] - weight[0]) * step) / Math.max(1, steps - 1)]]
  })
  return Object.fromEntries(entries)
}

/** Running statistics as the train state carries them. */
function statisticsOf({ count, mean, squares }: Live): RunningStatistics | undefined {
  if (count === undefined || mean === undefined || squares === undefined) return undefined
  return { count: [...count], mean: [...mean], squares: [...squares] }
}

/** Fills an SRPO configuration and checks it.
 * @param names of the reward's components
 * @throws naming the field */
export function resolveSrpoConfig(given: Partial<SrpoConfig>, names: readonly string[]): SrpoConfig {
  const config = resolveConfig('SrpoConfig', srpoDefaults, given)
  checkPolicyGradientConfig('SrpoConfig', config)
  requireOneOf('SrpoConfig', 'normalization', config.normalization, ['none', 'group', 'running'])
  requireOneOf('SrpoConfig', 'scalarization', config.scalarization, ['linear', 'chebyshev'])
  for (const name of Object.keys(config.reward_weights)) requireOneOf('SrpoConfig', 'reward_weights', name, names)
  return config
}
