import * as tf from '@tensorflow/tfjs-core'
import { requireInside, requireWhole } from '../config.js'
import { rng } from '../datasets/index.js'
import type { Policy, Samples } from '../policies/policy.js'
import { disposeTree, mapTensors, type TensorTree } from '../xla/tree.js'
import type { RewardBatch, Score, WeightedRewards } from '../rewards/index.js'
import { nanMean, nanStd, weightedSum } from './groupAdvantages.js'

/** A row of a data set of prompts; other columns go to the rewards. */
export interface PromptRow<Prompt = unknown> {
  prompt: Prompt
}

/** How completions are drawn; names and defaults are TRL's. */
export interface SamplingConfig {
  /** Completions per prompt, at least 2. */
  num_generations: number
  /** Bound on a completion, in tokens. */
  max_completion_length: number
  temperature: number
  top_p: number
  /** 0: all tokens. */
  top_k: number
  /** 0: all tokens. (TRL: None.) */
  min_p: number
  /** 1: none. */
  repetition_penalty: number
  /** Further options for `policy.sample`. */
  generation_kwargs: Record<string, unknown>
}

export const samplingDefaults: SamplingConfig = {
  num_generations: 8,
  max_completion_length: 512,
  temperature: 1,
  top_p: 1,
  top_k: 0,
  min_p: 0,
  repetition_penalty: 1,
  generation_kwargs: {},
}

/** @throws naming the first field that is out of range */
export function checkSamplingConfig(where: string, config: SamplingConfig): void {
  requireWhole(where, 'max_completion_length', config.max_completion_length, 1)
  requireWhole(where, 'top_k', config.top_k, 0)
  requireInside(where, 'temperature', config.temperature, '(0, ∞)')
  requireInside(where, 'repetition_penalty', config.repetition_penalty, '(0, ∞)')
  requireInside(where, 'top_p', config.top_p, '(0, 1]')
  requireInside(where, 'min_p', config.min_p, '[0, 1]')
}

export interface Rollout<Output> {
  samples: Samples<Output>
  /** Weights of the components at this moment [K], in the precision of the train state, so that a resumed run repeats them. */
  weights: number[]
  /** [K][N], rows of a prompt side by side. */
  scores: Score[][]
  /** Active tokens (denoising steps) of each row. */
  lengths: number[]
  /** 1 for rows that ended by themselves, 0 for rows cut at the length bound. */
  finished: number[]
  /** `reward` and `reward_std` of the weighted sum, `rewards/<name>/{mean,std}`, `weights/<name>`, `completions/…`; at the step
   * where a weight changed, an `event` that says so. */
  metrics: Record<string, number | string | null>
}

/** Draws completions for the prompts of some rows and scores them.
 * @param step seeds the draw, with the configuration's seed
 * @param before weights of the components at the step before, if there was one */
export async function rollout<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  rows: readonly PromptRow<Prompt>[],
  rewards: WeightedRewards,
  config: SamplingConfig & { seed: number },
  step: number,
  before: readonly number[] | undefined,
): Promise<Rollout<Output>> {
  const { num_generations, max_completion_length, generation_kwargs } = config
  const { temperature, top_p, top_k, min_p, repetition_penalty } = config
  const seed = rng(config.seed, SAMPLING, step).uint32() >>> 1 // fits int32
  const samples = await policy.sample(
    rows.map(row => row.prompt),
    {
      num_generations,
      max_completion_length,
      temperature,
      top_p,
      top_k,
      min_p,
      repetition_penalty,
      ...generation_kwargs,
      seed,
    },
  )
  return scored(samples, rewardBatch(rows, samples.outputs, num_generations), rewards, before)
}

/** A row of a data set of preferences. */
export interface PairRow<Prompt = unknown, Output = unknown> extends PromptRow<Prompt> {
  chosen: Output
  rejected: Output
}

/** Takes the chosen and the rejected output of each row for completions that the policy drew with its current weights: groups of two.
 * Rewards see beside the columns of the data set `preferred`, 1 for the chosen and 0 for the rejected output.
 * @returns metrics `pairs/reward_accuracy`, how often the chosen output has the higher reward, and by log-probability
 * `pairs/margin`, the mean of chosen − rejected, and `pairs/margin_accuracy`, how often it is above 0
 * @throws Error if the policy cannot tell how likely given outputs are to be drawn */
export async function replayedPairs<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  rows: readonly PairRow<Prompt, Output>[],
  rewards: WeightedRewards,
  before: readonly number[] | undefined,
): Promise<Rollout<Output>> {
  if (policy.replay === undefined)
    throw new Error('grpo: completions "pairs" needs log-probabilities of given outputs, which this policy has not. Sample them.') // prettier-ignore
  const outputs = rows.flatMap(row => [row.chosen, row.rejected])
  const trajectories = await policy.replay(
    rows.flatMap(row => [row.prompt, row.prompt]),
    outputs,
  )
  const batch = { ...rewardBatch(rows, outputs, 2), preferred: outputs.map((_, n) => 1 - (n % 2)) }
  const drawn = await scored({ outputs, trajectories }, batch, rewards, before)
  const sums = tf.tidy(() => tf.sum(tf.mul(trajectories.logProbs, trajectories.mask), 1))
  const margins = differences(Array.from(await sums.data()))
  sums.dispose()
  const share = (values: number[]) => values.filter(value => value > 0).length / values.length
  return {
    ...drawn,
    metrics: {
      ...drawn.metrics,
      'pairs/reward_accuracy': share(differences(weightedSum(drawn.scores, drawn.weights))),
      'pairs/margin': nanMean(margins),
      'pairs/margin_accuracy': share(margins),
    },
  }
}

/** First minus second of each pair. */
const differences = (values: number[]): number[] =>
  values.flatMap((value, n) => (n % 2 === 0 ? [value - values[n + 1]!] : []))

/** Some rows of a tree whose leading axis is the row. */
export function takeRows<T extends TensorTree>(tree: T, rows: readonly number[]): T {
  return tf.tidy(() => {
    const indices = tf.tensor1d([...rows], 'int32')
    return mapTensors(tree, t => tf.gather(t, indices)) as tf.TensorContainer
  }) as T
}

async function scored<Output>(
  samples: Samples<Output>,
  batch: RewardBatch,
  rewards: WeightedRewards,
  before: readonly number[] | undefined,
): Promise<Rollout<Output>> {
  const { trajectories } = samples
  const scores = await rewards.score(batch).catch((error: unknown) => {
    disposeTree({ ...trajectories })
    throw error
  })
  const sums = tf.sum(trajectories.mask, 1)
  const [lengths, finished] = [Array.from(await sums.data()), Array.from(await trajectories.finished.data())]
  sums.dispose()

  const weights = rewards.names.map(name => Math.fround(rewards.weights[name]!))
  const rewardOf = weightedSum(scores, weights) // [N]
  const metrics: Rollout<Output>['metrics'] = {
    reward: orNull(nanMean(rewardOf)),
    reward_std: orNull(nanStd(rewardOf)),
  }
  rewards.names.forEach((name, k) => {
    const values = scores[k]!.map(score => score ?? NaN)
    metrics[`rewards/${name}/mean`] = orNull(nanMean(values))
    metrics[`rewards/${name}/std`] = orNull(nanStd(values))
  })
  Object.assign(metrics, lengthMetrics(lengths, finished), weightMetrics(rewards.names, weights, before))
  return { samples, weights, scores, lengths, finished, metrics }
}

/** A reward's view of completions: each column of the data set repeated for the completions of its row. */
export function rewardBatch(
  rows: readonly PromptRow[],
  outputs: readonly unknown[],
  num_generations: number,
): RewardBatch {
  const repeated = rows.flatMap(row =>
    Array.from({ length: num_generations }, () => row as unknown as Record<string, unknown>),
  )
  const columns = new Set(rows.flatMap(row => Object.keys(row)))
  columns.delete('prompt')
  return {
    ...Object.fromEntries([...columns].map(column => [column, repeated.map(row => row[column] ?? null)])),
    prompts: repeated.map(row => row['prompt']),
    completions: outputs as RewardBatch['completions'],
  }
}

/** TRL's `completions/…`; `terminated` are those that ended by themselves. */
function lengthMetrics(lengths: number[], finished: number[]): Record<string, number> {
  const terminated = lengths.filter((_, n) => finished[n] !== 0)
  const ended = terminated.length === 0 ? [0] : terminated
  return {
    'completions/mean_length': nanMean(lengths),
    'completions/min_length': Math.min(...lengths),
    'completions/max_length': Math.max(...lengths),
    'completions/mean_terminated_length': nanMean(ended),
    'completions/min_terminated_length': Math.min(...ended),
    'completions/max_terminated_length': Math.max(...ended),
    'completions/clipped_ratio': 1 - terminated.length / lengths.length,
  }
}

function weightMetrics(names: readonly string[], weights: readonly number[], before: readonly number[] | undefined) {
  const changes = names.flatMap((name, k) =>
    before === undefined || before[k] === weights[k] ? [] : [`${name} ${shown(before[k]!)} → ${shown(weights[k]!)}`],
  )
  return {
    ...Object.fromEntries(names.map((name, k) => [`weights/${name}`, shown(weights[k]!)])),
    ...(changes.length === 0 ? {} : { event: `weights: ${changes.join(', ')}` }),
  }
}

/** Gives rewards the weights of a stored state. */
export function restoreWeights(rewards: WeightedRewards, weights: readonly number[]): void {
  rewards.setWeights(Object.fromEntries(rewards.names.map((name, k) => [name, shown(weights[k]!)])))
}

/** Without the digits that float32 adds. */
const shown = (x: number): number => Number(x.toPrecision(6))

/** Rows keep to JSON, which has no NaN. */
export const orNull = (x: number): number | null => (Number.isFinite(x) ? x : null)

/** Keeps the draws' stream apart from that of the data set's order. */
const SAMPLING = 1_000_003
