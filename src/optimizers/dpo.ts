import * as tf from '@tensorflow/tfjs-core'
import { requireColumns } from '../datasets/index.js'
import type { Policy, Weights } from '../policies/policy.js'
import type { WeightedRewards } from '../rewards/index.js'
import { jit, random } from '../xla/index.js'
import { disposeTree, type TensorTree } from '../xla/tree.js'
import { requireOneOf, requireWhole, resolveConfig } from '../config.js'
import { checkDpoLossConfig, dpoLoss, dpoLossDefaults, type DpoLossConfig } from './dpoLoss.js'
import { drawRows } from './drawRows.js'
import { weightedSum } from './groupAdvantages.js'
import { checkReferenceConfig, referenceDefaults, type ReferenceConfig } from './referenceConfig.js'
import {
  checkSamplingConfig,
  restoreWeights,
  rollout,
  samplingDefaults,
  takeRows,
  type PairRow,
  type PromptRow,
  type SamplingConfig,
} from './rollout.js'
import type { Run } from './run.js'
import { train, type Batch, type Progress } from './train.js'
import { checkTrainingConfig, totalSteps, trainingDefaults, type TrainingConfig } from './trainingConfig.js'
import type { TrainState } from './trainState.js'
import type { LossFunction } from './trainStep.js'
import { checkTruncationConfig, truncationDefaults, type TruncationConfig } from './truncationConfig.js'

/** Configuration of DPO; names and defaults are those of TRL 1.16, except for pairs drawn on policy, which are ours.
 * A batch counts pairs. */
export interface DpoConfig extends TrainingConfig, DpoLossConfig, SamplingConfig, ReferenceConfig, TruncationConfig {
  /** Score all pairs of the data set under the reference once, before the first update, instead of at each. */
  precompute_ref_log_probs: boolean
  /** Where pairs come from: the data set's columns `chosen` and `rejected`, or at each step best against worst of
   * completions that the policy draws. */
  pairs: 'dataset' | 'on_policy'
  /** What ranks completions drawn on policy. */
  rewards: WeightedRewards | null
  /** On policy: pairs of a group: best against worst, second best against second worst, … */
  pairs_per_prompt: number
  /** On policy: how far apart the rewards of a pair must be; ties are always dropped. */
  pair_margin: number
}

export const dpoDefaults: DpoConfig = {
  ...trainingDefaults,
  ...dpoLossDefaults,
  ...samplingDefaults,
  ...referenceDefaults,
  ...truncationDefaults,
  precompute_ref_log_probs: false,
  learning_rate: 1e-6,
  pairs: 'dataset',
  rewards: null,
  pairs_per_prompt: 2,
  pair_margin: 0,
}

/** Trains a policy by direct preference optimization: raises how likely chosen outputs are against rejected ones, relative
 * to the reference.
 * @param dataset rows with `prompt`, `chosen`, `rejected`; on policy with `prompt`, other columns go to the rewards
 * @param state of an earlier run, to go on from
 * @throws if the configuration or the data set does not fit, before anything is computed
 * @source arXiv 2305.18290 */
export function dpo<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  dataset: readonly PromptRow<Prompt>[],
  args: Partial<DpoConfig> = {},
  state?: TrainState,
): Run {
  const config = resolveDpoConfig(args)
  const { rewards } = config
  const pairsPerStep = config.per_device_train_batch_size * config.gradient_accumulation_steps // B
  const drawn = rewards === null ? pairsPerStep : pairsPerStep / config.pairs_per_prompt
  const draw = drawRows(dataset, config)

  const known = new Map<PromptRow<Prompt>, [chosen: number, rejected: number]>()
  const given = async ({ position }: Progress): Promise<Batch<PairRows>> => {
    const rows = draw(position, drawn)
    return {
      rows: {
        pairs: await encodedPairs(policy, rows, config),
        pairWeight: tf.ones([drawn]),
        ...(config.precompute_ref_log_probs && {
          reference: tf.tensor1d(rows.flatMap(row => known.get(row)!)),
        }),
      },
      drawn,
      metrics: {},
    }
  }

  const onPolicy = async (rewards: WeightedRewards, { step, position, live }: Progress): Promise<Batch<PairRows>> => {
    const rows = draw(position, drawn)
    const { samples, scores, weights, metrics } = await rollout(policy, rows, rewards, config, step, live['weights'])
    const ranked = rankedPairs(weightedSum(scores, weights), config)
    const { outputs, ...rest } = samples.trajectories
    const pairs = takeRows(
      outputs,
      ranked.flatMap(({ chosen, rejected }) => [chosen, rejected]),
    )
    disposeTree([outputs, rest])
    return {
      rows: { pairs, pairWeight: tf.tensor1d(ranked.map(pair => (pair.counts ? 1 : 0))) },
      drawn,
      live: { weights },
      metrics: { ...metrics, pairs_kept: ranked.filter(pair => pair.counts).length / ranked.length },
    }
  }

  const described = { ...config, rewards: rewards && rewards.weights } // a run's configuration is plain data
  requireColumns(dataset, rewards === null ? ['prompt', 'chosen', 'rejected'] : ['prompt'], 'dpo')
  return train<PairRows>({
    name: 'dpo',
    policy,
    usesReference: !config.precompute_ref_log_probs,
    config: described,
    steps: totalSteps(config, dataset.length, drawn),
    datasetSize: dataset.length,
    loss: pairLoss(policy, config),
    state,
    rewards,
    prepare: async () => {
      if (!config.precompute_ref_log_probs) return
      for await (const [row, scores] of referenceScores(policy, dataset, pairsPerStep, config)) known.set(row, scores)
    },
    resume: live => void (rewards && restoreWeights(rewards, live['weights']!)),
    next: progress => (rewards === null ? given(progress) : onPolicy(rewards, progress)),
  })
}

type PairRows = {
  /** What `policy.score` takes, 2·B rows: chosen and rejected of a pair side by side. */
  pairs: TensorTree
  pairWeight: tf.Tensor // [B]
  /** Precomputed scores under the reference [2·B]. */
  reference?: tf.Tensor
}

async function encodedPairs<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  rows: readonly PromptRow<Prompt>[],
  { max_length, truncation_mode }: TruncationConfig,
) {
  const pairs = rows as readonly PairRow<Prompt, Output>[]
  return policy.encode(
    pairs.flatMap(row => [row.prompt, row.prompt]),
    pairs.flatMap(row => [row.chosen, row.rejected]),
    { max_length, truncation_mode },
  )
}

/** Chosen and rejected lie side by side; where long rows lose their beginning, each loses what it is longer. */
const pairsOf = ({ max_length, truncation_mode }: TruncationConfig) => ({
  group: 2,
  samePrompt: max_length === null || truncation_mode === 'keep_start',
})

/** Each row of a data set of pairs with its scores under the reference.
 * @throws Error if scores are drawn at random, as those of flows */
async function* referenceScores<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  dataset: readonly PromptRow<Prompt>[],
  size: number,
  config: TruncationConfig,
): AsyncGenerator<[PromptRow<Prompt>, [chosen: number, rejected: number]]> {
  const program = jit(
    (weights: Weights, rows: TensorTree, key: tf.Tensor) => policy.score(weights, rows, key, pairsOf(config)).score,
    {
      name: 'reference',
    },
  )
  const scores = async (rows: TensorTree, seed: number) => {
    const key = random.key(seed)
    const result = program(policy.reference, rows, key)
    const values = Array.from(await result.data())
    disposeTree([key, result])
    return values
  }
  for (let start = 0; start < dataset.length; start += size) {
    const rows = dataset.slice(start, start + size)
    const pairs = await encodedPairs(policy, rows, config)
    const found = await scores(pairs, 0) // [2·B]
    if (start === 0 && (await scores(pairs, 1)).some((score, i) => score !== found[i]))
      throw new Error(
        'dpo: precompute_ref_log_probs: this policy draws its scores at random, anew at each step. Leave it out.',
      )
    disposeTree(pairs)
    for (const [i, row] of rows.entries()) yield [row, [found[2 * i]!, found[2 * i + 1]!]]
  }
}

function pairLoss(policy: Policy, config: DpoConfig): LossFunction<PairRows> {
  const sides = (x: tf.Tensor) => tf.unstack(tf.reshape(x, [-1, 2]), 1) as [chosen: tf.Tensor, rejected: tf.Tensor]
  return ({ reference }, { pairs, pairWeight, reference: known }, key) => {
    // One key for policy and reference: where scores are drawn at random (a flow's noise and time), they share the draw.
    const scored = (weights: Weights) => policy.score(weights, pairs, key, pairsOf(config)) // [2·B]
    const [refChosen, refRejected] = sides(known ?? scored(reference!).score)
    return weights => {
      const { score, length } = scored(weights)
      const [[chosen, rejected], [chosenLength, rejectedLength]] = [sides(score), sides(length)]
      const batch = { chosen, rejected, refChosen, refRejected, chosenLength, rejectedLength, pairWeight }
      const { loss, metrics } = dpoLoss(batch, config)
      const normalizer = tf.sum(pairWeight)
      return { sum: tf.mul(loss, normalizer), normalizer, tokens: tf.sum(length), metrics }
    }
  }
}

/** Best against worst, second best against second worst, … of each group: always `pairs_per_prompt` pairs, so that the batch
 * keeps its shape; those that tie or are closer than the margin do not count.
 * @param values [N], NaN where a completion has no reward
 * @returns indices of rows */
export function rankedPairs(
  values: readonly number[],
  {
    num_generations: G,
    pairs_per_prompt,
    pair_margin,
  }: Pick<DpoConfig, 'num_generations' | 'pairs_per_prompt' | 'pair_margin'>,
): { chosen: number; rejected: number; counts: boolean }[] {
  return Array.from({ length: values.length / G }, (_, p) => {
    const group = Array.from({ length: G }, (_, i) => p * G + i)
    const ranked = group.filter(n => !Number.isNaN(values[n])).sort((a, b) => values[b]! - values[a]!)
    return Array.from({ length: pairs_per_prompt }, (_, i) => {
      const [chosen, rejected] = [ranked[i], ranked[ranked.length - 1 - i]]
      if (chosen === undefined || rejected === undefined)
        return { chosen: group[0]!, rejected: group[0]!, counts: false }
      const margin = values[chosen]! - values[rejected]!
      return { chosen, rejected, counts: margin > 0 && margin >= pair_margin }
    })
  }).flat()
}

/** Fills a DPO configuration and checks it.
 * @throws naming the field */
export function resolveDpoConfig(given: Partial<DpoConfig>): DpoConfig {
  const where = 'DpoConfig'
  const config = resolveConfig(where, dpoDefaults, given, ['max_length'])
  checkTrainingConfig(where, config)
  checkDpoLossConfig(where, config)
  checkReferenceConfig(where, config)
  checkTruncationConfig(where, config)
  if (config.precompute_ref_log_probs && config.sync_ref_model)
    throw new Error(
      `${where}: precompute_ref_log_probs and sync_ref_model exclude each other: the reference moves. Leave one out.`,
    )
  if (config.precompute_ref_log_probs && config.pairs === 'on_policy')
    throw new Error(`${where}: precompute_ref_log_probs needs given pairs, pairs is "on_policy". Leave one out.`)
  requireOneOf(where, 'pairs', config.pairs, ['dataset', 'on_policy'])
  if (config.pairs === 'dataset') {
    if (config.rewards !== null)
      throw new Error(
        `${where}: rewards are given but pairs is "dataset", which does not use them. Use pairs: "on_policy".`,
      )
    return config
  }
  if ([config.loss_type].flat().some(type => type === 'aot' || type === 'aot_unpaired'))
    throw new Error(
      `${where}: loss_type aot sorts the whole batch, in which pairs that tie have no place. Use pairs: "dataset".`,
    )
  if (config.rewards === null)
    throw new Error(`${where}: pairs is "on_policy" without rewards. Pass rewards: weighted({ … }).`)
  const [pairs, perPrompt] = [
    config.per_device_train_batch_size * config.gradient_accumulation_steps,
    config.pairs_per_prompt,
  ]
  checkSamplingConfig(where, config)
  requireWhole(where, 'num_generations', config.num_generations, 2)
  requireWhole(where, 'pairs_per_prompt', perPrompt, 1)
  if (perPrompt > config.num_generations / 2)
    throw new Error(
      `${where}: pairs_per_prompt (${perPrompt}) needs twice as many completions, num_generations is ${config.num_generations}. ` +
        `Use at most ${Math.floor(config.num_generations / 2)}.`,
    )
  if (pairs % perPrompt !== 0)
    throw new Error(
      `${where}: batch (${pairs} pairs) must be divisible by pairs_per_prompt (${perPrompt}). Use ${Math.ceil(pairs / perPrompt) * perPrompt}.`,
    )
  return config
}
