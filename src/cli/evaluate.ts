import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { bootstrapInterval } from '../metrics/index.js'
import { dpoDefaults } from '../optimizers/index.js'
import { nanMean, weightedSum } from '../optimizers/groupAdvantages.js'
import { rewardBatch, samplingDefaults, type PromptRow, type SamplingConfig } from '../optimizers/rollout.js'
import { scorePairs, type Policy, type Weights } from '../policies/index.js'
import type { Score, WeightedRewards } from '../rewards/index.js'
import { disposeTree, jit, random, type TensorTree } from '../xla/index.js'
import { parse, type Command } from './command.js'
import { readExperiment, type Args, type Experiment } from './experiment.js'
import { readDataset, usableRows, type DataRow } from './namedDatasets.js'
import { isPipeline, openPolicy } from './openPolicy.js'
import { textTable } from './textTable.js'

/** A figure of a policy on held-out rows. */
export interface Metric {
  /** TRL's name. */
  metric: string
  mean: number
  /** Its 95 % bootstrap interval over rows; null for ratios of sums. */
  low: number | null
  high: number | null
  /** Rows it is a mean over. */
  rows: number
}

/** All that held-out rows tell of a policy: of pairs whether it prefers the chosen output, of completions how likely they are, and with
 * rewards what those say of outputs that it draws.
 * @param reference what margins are taken against */
export async function evaluatePolicy(
  policy: Policy,
  reference: Weights,
  rows: readonly DataRow[],
  { config: { args, rewards: uses, model }, rewards }: Experiment,
): Promise<Metric[]> {
  const text = !(await isPipeline(model))
  const have = (...columns: string[]) => rows.every(row => columns.every(column => column in row))
  if (!have('prompt')) throw new Error('evaluate: rows of eval_dataset lack the column prompt. Rename or add it.')
  const verifier = Object.values(uses).findIndex(({ use }) => use === 'exactAnswer')
  const found = [
    ...(have('chosen', 'rejected') ? await preferences(policy, reference, rows, args) : []),
    ...(have('completion') ? await likelihood(policy, rows, args, text) : []),
    ...(rewards === null ? [] : await rewarded(policy, rows, args, rewards, verifier, text)),
  ]
  if (found.length === 0)
    throw new Error('evaluate: rows of eval_dataset have neither chosen and rejected nor completion, and there are no rewards. Add one.') // prettier-ignore
  return found
}

/** How far chosen outputs are above rejected ones: DPO's implicit rewards, β·(log π − log reference). */
async function preferences(
  policy: Policy,
  reference: Weights,
  rows: readonly DataRow[],
  args: Args,
): Promise<Metric[]> {
  const beta = typeof args['beta'] === 'number' && args['beta'] > 0 ? args['beta'] : dpoDefaults.beta
  const { chosen, rejected, refChosen, refRejected } = await scorePairs(
    policy,
    rows as readonly { prompt: unknown; chosen: unknown; rejected: unknown }[],
    { size: args.per_device_eval_batch_size, seed: args.seed, reference },
  )
  const above = (scores: number[], of: number[]) => scores.map((score, i) => beta * (score - of[i]!))
  const [ofChosen, ofRejected] = [above(chosen, refChosen), above(rejected, refRejected)]
  return [
    mean('rewards/accuracies', ofChosen.map((reward, i) => Number(reward > ofRejected[i]!))), // prettier-ignore
    mean('rewards/margins', ofChosen.map((reward, i) => reward - ofRejected[i]!)), // prettier-ignore
    mean('rewards/chosen', ofChosen),
    mean('rewards/rejected', ofRejected),
    mean('logps/chosen', chosen),
    mean('logps/rejected', rejected),
  ]
}

/** SFT's loss on given completions, and of text its exponential. */
async function likelihood(policy: Policy, rows: readonly DataRow[], args: Args, text: boolean): Promise<Metric[]> {
  const program = jit(
    (weights: Weights, outputs: TensorTree, key: tf.Tensor) => {
      const { score, length } = policy.score(weights, outputs, key)
      return tf.stack([score, length]) // [2, B]
    },
    { name: 'likelihood' },
  )
  let [total, tokens] = [0, 0]
  for (const { part, count } of batches(rows, args.per_device_eval_batch_size)) {
    const encoded = await encode(policy, part, 'completion')
    const key = random.key(args.seed)
    const scores = await program.async(policy.weights, encoded, key)
    const [score, length] = (await scores.array()) as [number[], number[]]
    disposeTree([encoded, key, scores])
    for (let i = 0; i < count; i++) [total, tokens] = [total + score[i]!, tokens + length[i]!]
  }
  const ratio = (metric: string, value: number) => ({ metric, mean: value, low: null, high: null, rows: rows.length }) // prettier-ignore
  const loss = -total / tokens
  return [ratio('loss', loss), ...(text ? [ratio('perplexity', Math.exp(loss))] : [])]
}

/** What rewards say of outputs drawn as in training. Each value is a prompt's mean over its outputs.
 * @param verifier index of the reward that tells right from wrong answers, −1 for none */
async function rewarded(
  policy: Policy,
  rows: readonly DataRow[],
  args: Args,
  rewards: WeightedRewards,
  verifier: number,
  text: boolean,
): Promise<Metric[]> {
  const fields = Object.keys(samplingDefaults).map(field => [field, args[field]])
  const { generation_kwargs, ...drawing } = Object.fromEntries(fields) as SamplingConfig
  const G = args.num_generations_eval ?? drawing.num_generations
  const scores: Score[][] = rewards.names.map(() => []) // [K][N·G]
  const [lengths, cut]: [number[], number[]] = [[], []]
  let seed = args.seed
  for (const { part, count } of batches(rows, Math.max(1, Math.floor(args.per_device_eval_batch_size / G)))) {
    const { outputs, trajectories } = await policy.sample(
      part.map(row => row['prompt']),
      { ...drawing, ...generation_kwargs, num_generations: G, seed: seed++ },
    )
    const steps = tf.tidy(() => tf.sum(trajectories.mask, 1))
    lengths.push(...(await steps.data()).slice(0, count * G))
    cut.push(...Array.from(await trajectories.finished.data(), ended => 1 - ended).slice(0, count * G))
    disposeTree([steps, { ...trajectories }])
    const batch = rewardBatch(part.slice(0, count) as unknown as PromptRow[], outputs.slice(0, count * G), G)
    const scored = await rewards.score(batch)
    scored.forEach((row, k) => scores[k]!.push(...row))
  }
  const groups = (values: readonly (number | null)[]): number[][] =>
    rows
      .map((_, i) => values.slice(i * G, (i + 1) * G).filter((v): v is number => v !== null && !Number.isNaN(v)))
      .filter(group => group.length > 0)
  const each = (metric: string, values: readonly (number | null)[]) => mean(metric, groups(values).map(nanMean))
  const weights = rewards.names.map(name => rewards.weights[name]!)
  const answers = groups(scores[verifier] ?? [])
  const right = answers.map(group => group.filter(score => score > 0).length)
  const passed = (k: number) => right.map((c, i) => passAtK(answers[i]!.length, c, k))
  return [
    each('reward', weightedSum(scores, weights)),
    ...rewards.names.map((name, k) => each(`rewards/${name}/mean`, scores[k]!)),
    ...(verifier < 0 ? [] : [mean('exact_match', passed(1))]),
    ...(verifier < 0 ? [] : [2, 4, 8, 16, 32, 64].filter(k => k <= G).map(k => mean(`pass@${k}`, passed(k)))),
    ...(text ? [each('completions/mean_length', lengths), each('completions/clipped_ratio', cut)] : []),
  ]
}

/** The chance that one of k outputs is right, of n drawn of which c are: 1 − C(n − c, k) / C(n, k).
 * @source Chen et al., Evaluating Large Language Models Trained on Code, arXiv 2107.03374 */
export function passAtK(n: number, c: number, k: number): number {
  if (n - c < k) return 1
  let allWrong = 1
  for (let i = n - c + 1; i <= n; i++) allWrong *= 1 - k / i
  return 1 - allWrong
}

function mean(metric: string, values: readonly number[]): Metric {
  const rows = values.length
  if (rows === 0 || !values.every(Number.isFinite))
    return { metric, mean: nanMean(values), low: null, high: null, rows } // a diverged policy is told, not thrown
  return { metric, ...bootstrapInterval(values), rows }
}

/** Rows in batches of one size, for one program: the last is filled up with its last row. `count`: those that count. */
function* batches<R>(rows: readonly R[], size: number): Generator<{ part: R[]; count: number }> {
  const whole = Math.min(size, rows.length)
  for (let from = 0; from < rows.length; from += whole) {
    const part = rows.slice(from, from + whole)
    yield { part: Array.from({ length: whole }, (_, i) => part[i] ?? part.at(-1)!), count: part.length }
  }
}

async function encode(policy: Policy, rows: readonly DataRow[], column: string): Promise<TensorTree> {
  return policy.encode(
    rows.map(row => row['prompt']),
    rows.map(row => row[column]),
  )
}

/** Evaluates the policy of a config.
 * @param options.trained the one that `train` left in output_dir
 * @throws Error naming the field that is missing */
export async function evaluate(
  experiment: Experiment,
  { trained = false }: { trained?: boolean } = {},
): Promise<{ metrics: Metric[]; skipped: string[] }> {
  const { config } = experiment
  if (config.eval_dataset === null) throw new Error('evaluate: the config has no eval_dataset, needed one.')
  const given = await readDataset(config.eval_dataset)
  const opened = trained ? trainedConfig(config) : config
  const policy = await openPolicy(opened)
  const compares = given.some(row => 'chosen' in row)
  const base = compares && opened.model !== config.model ? await openPolicy(config) : undefined // what was trained
  const reference = base ? base.weights : compares ? policy.reference : policy.weights
  try {
    const { rows, skipped } = await usableRows(config.eval_dataset, given, policy, config.args)
    return { metrics: await evaluatePolicy(policy, reference, rows, experiment), skipped }
  } finally {
    policy.dispose()
    base?.dispose()
  }
}

/** Lines that tell which rows were left out, and why. */
export const leftOut = (skipped: readonly string[]): string[] =>
  skipped.length === 0 ? [] : [`left out ${skipped.length} rows:`, ...skipped]

/** Where `train` left its weights: an adapter on the model, or a model of its own. */
function trainedConfig(config: Experiment['config']): Experiment['config'] {
  if (config.output_dir === null) throw new Error('evaluate --trained: the config has no output_dir, needed one.')
  const dir = join(config.output_dir, 'model')
  return config.adapter === null ? { ...config, model: dir } : { ...config, adapter: dir }
}

export const evaluateCommand: Command = {
  summary: 'metrics of a policy on held-out rows, with 95 % intervals',
  help: `Usage: rewardlab evaluate CONFIG.yaml [options]

Evaluates the model of a training config on its eval_dataset. Rows with chosen and rejected: how often and how far the policy prefers the
chosen output, against the reference. Rows with completion: loss and perplexity. With rewards: their means over completions that the
policy draws, and of exactAnswer exact match and pass@k.
  --trained            the policy that train left in output_dir, instead of the model as it is
  --set a.b=VALUE      change a field; may be repeated
  --json               print the metrics as JSON`,
  async run(args, print) {
    const { values, positionals } = parse(args, ['CONFIG.yaml'], {
      set: { type: 'string', multiple: true },
      trained: { type: 'boolean' },
    })
    const experiment = await readExperiment(positionals[0]!, values.set)
    const { metrics, skipped } = await evaluate(experiment, { trained: values.trained ?? false })
    print([textTable(metrics), ...leftOut(skipped)].join('\n'), { metrics, skipped })
  },
}
