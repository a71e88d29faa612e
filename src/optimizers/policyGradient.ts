import * as tf from '@tensorflow/tfjs-core'
import { requireColumns } from '../datasets/index.js'
import type { Evaluation, Policy, Trajectories, Weights } from '../policies/policy.js'
import type { Score, WeightedRewards } from '../rewards/index.js'
import { disposeTree, type TensorTree } from '../xla/tree.js'
import { requireOneOf, requireWhole } from '../config.js'
import { drawRows } from './drawRows.js'
import { advantages, nanMean, weightedSum, type AdvantageOptions } from './groupAdvantages.js'
import { flowKl, flowRatio } from './flowTerms.js'
import { checkGrpoLossConfig, grpoLoss, grpoLossDefaults, type GrpoLossConfig } from './grpoLoss.js'
import { checkReferenceConfig, referenceDefaults, type ReferenceConfig } from './referenceConfig.js'
import {
  checkSamplingConfig,
  replayedPairs,
  restoreWeights,
  rollout,
  samplingDefaults,
  takeRows,
  type PairRow,
  type PromptRow,
  type Rollout,
  type SamplingConfig,
} from './rollout.js'
import type { Run } from './run.js'
import { train, type Live } from './train.js'
import { checkTrainingConfig, totalSteps, trainingDefaults, type TrainingConfig } from './trainingConfig.js'
import type { TrainState } from './trainState.js'
import type { LossFunction } from './trainStep.js'

/** What GRPO and SRPO have in common; names and defaults are those of TRL 1.16, except where a line says otherwise. */
export interface PolicyGradientConfig extends TrainingConfig, SamplingConfig, GrpoLossConfig, ReferenceConfig {
  /** Where completions come from (ours): the policy, or the columns `chosen` and `rejected` of the data set, which form groups of two. */
  completions: 'sampled' | 'pairs'
  /** Draw for this many times the prompts of a batch, and train on those groups whose rewards differ (ours; DAPO's dynamic sampling in one
   * draw): groups that tie teach nothing. Where too few differ, groups that tie fill the batch. */
  oversampling: number
  /** Updates on each batch of completions. */
  num_iterations: number
  /** What differences of rewards are divided by: the standard deviation of the group, of the batch, or nothing. */
  scale_rewards: 'group' | 'batch' | 'none'
  /** Added to the standard deviation of rewards (a constant in TRL). */
  advantage_epsilon: number
  /** What is subtracted from a reward (ours; TRL: group). `moving`: an exponential average over steps. */
  baseline: 'group' | 'batch' | 'moving'
  /** Weight of the old value in the moving baseline (ours). */
  baseline_decay: number
  /** Leave completions out of the loss that were cut at the length bound. */
  mask_truncated_completions: boolean
  /** For flows (ours): ratios that stay centred, and each step's loss divided by how far it goes, against over-optimisation; see
   * {@link flowRatio}. */
  flow_guard: boolean
}

export const policyGradientDefaults: PolicyGradientConfig = {
  ...trainingDefaults,
  ...samplingDefaults,
  ...grpoLossDefaults,
  ...referenceDefaults,
  completions: 'sampled',
  oversampling: 1,
  learning_rate: 1e-6,
  num_iterations: 1,
  scale_rewards: 'group',
  advantage_epsilon: 1e-4,
  baseline: 'group',
  baseline_decay: 0.9,
  mask_truncated_completions: false,
  flow_guard: false,
}

/** @throws naming the first field that is out of range */
export function checkPolicyGradientConfig(where: string, config: PolicyGradientConfig): void {
  checkTrainingConfig(where, config)
  checkGrpoLossConfig(where, config)
  checkSamplingConfig(where, config)
  requireOneOf(where, 'scale_rewards', config.scale_rewards, ['group', 'batch', 'none'])
  requireOneOf(where, 'baseline', config.baseline, ['group', 'batch', 'moving'])
  requireOneOf(where, 'completions', config.completions, ['sampled', 'pairs'])
  requireWhole(where, 'oversampling', config.oversampling, 1)
  checkReferenceConfig(where, config)
  if (config.sync_ref_model && config.beta === 0)
    throw new Error(
      `${where}: sync_ref_model is set but beta is 0, so that there is no reference. Set beta, for example 0.04.`,
    )
  if (config.completions === 'pairs' && config.num_generations !== 2)
    throw new Error(
      `${where}: num_generations is ${config.num_generations}, but pairs make groups of two. Use num_generations: 2.`,
    )
  requireWhole(where, 'num_generations', config.num_generations, 2)
  requireWhole(where, 'num_iterations', config.num_iterations, 1)
  const [rows, G] = [config.per_device_train_batch_size * config.gradient_accumulation_steps, config.num_generations]
  if (rows % G !== 0) {
    const near = [Math.floor(rows / G) * G, Math.ceil(rows / G) * G].filter(n => n > 0)
    throw new Error(
      `${where}: batch (${rows}) must be divisible by num_generations (${G}): per_device_train_batch_size × ` +
        `gradient_accumulation_steps completions are drawn a step, in whole groups. Use ${near.join(' or ')}.`,
    )
  }
}

/** How a method turns a batch's scores into advantages.
 * @param scores [K][N]
 * @param weights [K], those of the moment
 * @param live what the function returned as `live` after the batch before; empty at first */
export type AdvantageFunction = (
  scores: Score[][],
  weights: number[],
  live: Live,
) => { advantages: number[]; metrics: Record<string, number | null>; live: Live }

/** Advantages of the weighted sum of components against the configuration's baseline, which may move from step to step.
 * @param components [K][N]
 * @param weights [K]
 * @returns `live` holds the moving baseline */
export function comparedWithBaseline(
  components: readonly (readonly Score[])[],
  weights: readonly number[],
  config: PolicyGradientConfig & Pick<Partial<AdvantageOptions>, 'multi_objective_aggregation'>,
  live: Live,
): { advantages: number[]; fracZeroStd: number; live: Live } {
  const moving = live['baseline']?.[0]
  const {
    advantages: values,
    rewards,
    fracZeroStd,
  } = advantages(components, {
    weights,
    num_generations: config.num_generations,
    scale_rewards: config.scale_rewards,
    ...(config.multi_objective_aggregation && { multi_objective_aggregation: config.multi_objective_aggregation }),
    advantage_epsilon: config.advantage_epsilon,
    baseline: config.baseline === 'moving' ? (moving ?? 'batch') : config.baseline,
  })
  const mean = nanMean(rewards)
  const next = moving === undefined ? mean : config.baseline_decay * moving + (1 - config.baseline_decay) * mean
  const moves = config.baseline === 'moving' && !Number.isNaN(next)
  return { advantages: values, fracZeroStd, live: moves ? { baseline: [next] } : {} }
}

export interface PolicyGradientOptions<Prompt, Output> {
  name: string
  policy: Policy<Prompt, Output>
  dataset: readonly PromptRow<Prompt>[]
  rewards: WeightedRewards
  config: PolicyGradientConfig
  advantage: AdvantageFunction
  /** Weights that a step prescribes; the others stay as they are. */
  scheduled?: (step: number, steps: number) => Record<string, number>
  state: TrainState | undefined
}

/** The loop of GRPO and SRPO: draw prompts, sample completions, score them, turn scores into advantages, update. */
export function policyGradient<Prompt, Output>(options: PolicyGradientOptions<Prompt, Output>): Run {
  const { name, policy, dataset, rewards, config, advantage } = options
  requireColumns(dataset, config.completions === 'pairs' ? ['prompt', 'chosen', 'rejected'] : ['prompt'], name)
  const rowsPerStep = config.per_device_train_batch_size * config.gradient_accumulation_steps // N, completions
  const prompts = rowsPerStep / config.num_generations
  const candidates = prompts * config.oversampling
  const steps = totalSteps(config, dataset.length, candidates / config.num_iterations)
  const draw = drawRows(dataset, config)

  return train<PolicyGradientRows>({
    name,
    policy,
    usesReference: config.beta !== 0,
    config,
    steps,
    datasetSize: dataset.length,
    loss: policyGradientLoss(policy, config),
    state: options.state,
    rewards,
    resume: live => restoreWeights(rewards, live['weights']!),
    next: async ({ step, position, live }) => {
      if (options.scheduled !== undefined) rewards.setWeights(options.scheduled(step, steps))
      const rows = draw(position, candidates)
      const drawn = await (config.completions === 'pairs'
        ? replayedPairs(policy, rows as PairRow<Prompt, Output>[], rewards, live['weights'])
        : rollout(policy, rows, rewards, config, step, live['weights']))
      const { weights } = drawn
      const { trajectories, scores, lengths, finished, kept } = telling(drawn, config, prompts)
      const result = advantage(scores, weights, live)
      const counted = lengths.filter((_, n) => !config.mask_truncated_completions || finished[n] !== 0)
      return {
        rows: { trajectories, advantages: tf.tensor1d(result.advantages) },
        scalars: { numItems: sum(counted) / config.gradient_accumulation_steps },
        updates: config.num_iterations,
        drawn: candidates,
        live: { ...result.live, weights },
        metrics: { ...drawn.metrics, ...result.metrics, ...kept },
      }
    },
  })
}

/** The part of what was drawn that is trained on: all of it, or where more was drawn the groups whose rewards differ, first ones first. */
function telling(
  { samples, scores, weights, lengths, finished }: Rollout<unknown>,
  config: PolicyGradientConfig,
  prompts: number,
) {
  const { num_generations: G, oversampling } = config
  const trajectories: TensorTree = { ...samples.trajectories }
  const kept: Record<string, number> = {}
  if (oversampling === 1) return { trajectories, scores, lengths, finished, kept }
  const values = weightedSum(scores, weights)
  const groups = Array.from({ length: prompts * oversampling }, (_, p) => p)
  const differ = groups.filter(p => new Set(values.slice(p * G, (p + 1) * G)).size > 1)
  const chosen = [...differ, ...groups.filter(p => !differ.includes(p))].slice(0, prompts)
  const rows = chosen.flatMap(p => Array.from({ length: G }, (_, i) => p * G + i))
  const pick = <T>(all: readonly T[]): T[] => rows.map(n => all[n]!)
  const taken = takeRows(trajectories, rows)
  disposeTree(trajectories)
  return {
    trajectories: taken,
    scores: scores.map(pick),
    lengths: pick(lengths),
    finished: pick(finished),
    kept: { 'oversampling/frac_telling': differ.length / groups.length },
  }
}

type PolicyGradientRows = { trajectories: TensorTree; advantages: tf.Tensor }

function policyGradientLoss(policy: Policy, config: PolicyGradientConfig): LossFunction<PolicyGradientRows> {
  const group = commonDivisor(config.per_device_train_batch_size, config.num_generations) // of a part of the batch
  return ({ reference }, { trajectories: tree, advantages }, _key, { numItems }) => {
    const trajectories = tree as unknown as Trajectories
    const { logProbs: oldLogProbs, finished } = trajectories
    const mask = config.mask_truncated_completions
      ? tf.mul(trajectories.mask, tf.expandDims(finished, 1))
      : trajectories.mask // [B, T]
    const ofReference = reference && policy.evaluate(reference, trajectories, { group })
    return (weights: Weights) => {
      const evaluation = policy.evaluate(weights, trajectories, { entropy: true, group })
      const { logProbs, entropy, mean, std } = evaluation
      const flow = {
        ...(mean && std && ofReference?.mean && { kl: flowKl(mean, ofReference.mean, std) }),
        ...(config.flow_guard && guarded(evaluation, trajectories, advantages)),
      }
      const refLogProbs = ofReference?.logProbs // [B, T]
      const batch = { logProbs, oldLogProbs, refLogProbs, mask, advantages, entropy, numItems, ...flow }
      const { loss, metrics } = grpoLoss(batch, config)
      const difference = tf.mul(tf.abs(tf.sub(logProbs, oldLogProbs)), mask)
      metrics['sampling/sampling_logp_difference/mean'] = tf.div(tf.sum(difference), tf.maximum(tf.sum(mask), 1))
      metrics['sampling/sampling_logp_difference/max'] = tf.max(difference)
      return { sum: loss, normalizer: tf.scalar(1), tokens: tf.sum(mask), metrics }
    }
  }
}

/** What GRPO-Guard puts in the place of ratios and advantages. */
function guarded({ logProbs, mean, std, stepSize }: Evaluation, trajectories: Trajectories, advantages: tf.Tensor) {
  const { logProbs: oldLogProbs, mean: oldMean } = trajectories
  if (!mean || !std || !stepSize || !oldMean)
    throw new Error('flow_guard: the steps of the policy are no steps of a flow. Leave it out.')
  return {
    logRatio: flowRatio({ logProbs, oldLogProbs, mean, oldMean, std }),
    advantages: tf.div(tf.expandDims(advantages, 1), stepSize), // [B, T]
  }
}

const commonDivisor = (a: number, b: number): number => (b === 0 ? a : commonDivisor(b, a % b))

const sum = (values: readonly number[]): number => values.reduce((total, v) => total + v, 0)
