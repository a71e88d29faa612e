import type { Policy } from '../policies/policy.js'
import type { WeightedRewards } from '../rewards/index.js'
import { requireInside, requireOneOf, resolveConfig } from '../config.js'
import { withTrlNames, type QwenVlGrpoConfig } from './grpoNames.js'
import {
  checkPolicyGradientConfig,
  comparedWithBaseline,
  policyGradient,
  policyGradientDefaults,
  type PolicyGradientConfig,
} from './policyGradient.js'
import type { PromptRow } from './rollout.js'
import type { Run } from './run.js'
import type { TrainState } from './trainState.js'

/** Configuration of GRPO; names and defaults are those of TRL 1.16. Names of Qwen-VL's GRPO trainers are understood, too ({@link withTrlNames}). */
export interface GrpoConfig extends PolicyGradientConfig {
  /** Several rewards: sum and normalise in the group, or normalise each in the group, sum, and normalise over the batch
   * (GDPO); the latter leaves no choice of baseline and scale_rewards. */
  multi_objective_aggregation: 'sum_then_normalize' | 'normalize_then_sum'
  /** Rewards are multiplied by it before advantages are made of them; with `scale_rewards` other than `none` that changes nothing. (TRL: none.) */
  grpo_alpha: number
}

export const grpoDefaults: GrpoConfig = {
  ...policyGradientDefaults,
  multi_objective_aggregation: 'sum_then_normalize',
  grpo_alpha: 1,
}

/** Trains a policy by group-relative policy optimization: for each prompt draws completions, scores them, and raises the
 * probability of those above their group's mean. `loss_type: 'reinforce'` is the plain policy gradient instead, by default
 * without division by a deviation.
 * @param dataset rows with `prompt`; other columns go to the rewards
 * @param state of an earlier run, to go on from
 * @throws if the configuration or the data set does not fit, before anything is drawn
 * @source DeepSeekMath, arXiv 2402.03300; Williams 1992 */
export function grpo<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  dataset: readonly PromptRow<Prompt>[],
  rewards: WeightedRewards,
  args: Partial<GrpoConfig> & QwenVlGrpoConfig = {},
  state?: TrainState,
): Run {
  const config = resolveGrpoConfig(args)
  const scaled = (weights: readonly number[]) => weights.map(weight => weight * config.grpo_alpha)
  return policyGradient({
    name: 'grpo',
    policy,
    dataset,
    rewards,
    config,
    state,
    advantage: (scores, weights, live) => {
      const { fracZeroStd, ...compared } = comparedWithBaseline(scores, scaled(weights), config, live)
      return { ...compared, metrics: { frac_reward_zero_std: fracZeroStd } }
    },
  })
}

/** Fills a GRPO configuration and checks it.
 * @throws naming the field */
export function resolveGrpoConfig(args: Partial<GrpoConfig> & QwenVlGrpoConfig): GrpoConfig {
  const given = withTrlNames<Partial<GrpoConfig>>('GrpoConfig', args)
  const config = resolveConfig('GrpoConfig', grpoDefaults, given)
  requireInside('GrpoConfig', 'grpo_alpha', config.grpo_alpha, '(0, ∞)')
  if (config.loss_type === 'reinforce' && given.scale_rewards === undefined) config.scale_rewards = 'none'
  checkPolicyGradientConfig('GrpoConfig', config)
  requireOneOf('GrpoConfig', 'multi_objective_aggregation', config.multi_objective_aggregation, [
    'sum_then_normalize',
    'normalize_then_sum',
  ])
  return config
}
