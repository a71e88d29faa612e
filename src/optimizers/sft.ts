import * as tf from '@tensorflow/tfjs-core'
import { requireColumns } from '../datasets/index.js'
import type { Policy } from '../policies/policy.js'
import type { TensorTree } from '../xla/tree.js'
import { resolveConfig } from '../config.js'
import { drawRows } from './drawRows.js'
import { packRows } from './packRows.js'
import type { Run } from './run.js'
import { train } from './train.js'
import { checkTrainingConfig, totalSteps, trainingDefaults, type TrainingConfig } from './trainingConfig.js'
import type { TrainState } from './trainState.js'
import { checkTruncationConfig, truncationDefaults, type TruncationConfig } from './truncationConfig.js'

/** Configuration of supervised fine-tuning; names and defaults are those of TRL 1.16. */
export interface SftConfig extends TrainingConfig, TruncationConfig {
  /** Count the completion alone; false: all tokens. Default null: the completion where there is a prompt (TRL). */
  completion_only_loss: boolean | null
  /** Of messages, count what the assistant says alone: all its turns, and not what others say between them. */
  assistant_only_loss: boolean
  /** Lay rows behind one another, up to `max_length` tokens (TRL's strategy "bfd"); they do not see each other. A batch counts packs then. */
  packing: boolean
}

export const sftDefaults: SftConfig = {
  ...trainingDefaults,
  ...truncationDefaults,
  learning_rate: 2e-5,
  completion_only_loss: null,
  assistant_only_loss: false,
  packing: false,
}

/** A row of a data set of completions, or a whole conversation. */
export type CompletionRow<Prompt = unknown, Output = unknown> =
  | { prompt: Prompt; completion: Output; messages?: undefined }
  | { prompt?: undefined; completion?: undefined; messages: Output }

/** Raises the likelihood of given completions: loss −Σ score / Σ length over the batch (tokens: mean negative
 * log-likelihood of a completion token; flows: mean squared error of the velocity, halved).
 * @param dataset rows with `prompt` and `completion`, or with `messages`, of which all tokens count, or with assistant_only_loss what the assistant says
 * @param state of an earlier run, to go on from
 * @throws if the configuration or the data set does not fit, before anything is computed */
export function sft<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  dataset: readonly CompletionRow<Prompt, Output>[],
  args: Partial<SftConfig> = {},
  state?: TrainState,
): Run {
  const config = resolveSftConfig(args)
  requireColumns(dataset, dataset[0]?.messages === undefined ? ['prompt', 'completion'] : ['messages'], 'sft')
  const rowsPerStep = config.per_device_train_batch_size * config.gradient_accumulation_steps
  const packs = config.packing ? packed(policy, dataset, config) : dataset.map(row => [row])
  const draw = drawRows(packs, config)
  return train<{ outputs: TensorTree }>({
    name: 'sft',
    policy,
    usesReference: false,
    config,
    steps: totalSteps(config, packs.length, rowsPerStep),
    datasetSize: packs.length,
    state,
    loss:
      (_frozen, { outputs }, key) =>
      weights => {
        const { score, length } = policy.score(weights, outputs, key) // [B]
        const tokens = tf.sum(length)
        return { sum: tf.neg(tf.sum(score)), normalizer: tokens, tokens, metrics: {} }
      },
    next: async ({ position }) => {
      const drawn = draw(position, rowsPerStep)
      const outputs = await policy.encode(...columns(drawn.flat()), {
        ...config,
        ...(config.packing && { packs: drawn.map(rows => rows.length) }),
      })
      return { rows: { outputs }, drawn: rowsPerStep, metrics: {} }
    },
  })
}

/** Prompts and outputs; a conversation begins with nothing. */
const columns = <Prompt, Output>(rows: readonly CompletionRow<Prompt, Output>[]): [Prompt[], Output[]] => [
  rows.map(row => row.prompt ?? ([] as Prompt)),
  rows.map(row => row.completion ?? row.messages!),
]

function packed<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  dataset: readonly CompletionRow<Prompt, Output>[],
  config: SftConfig,
): CompletionRow<Prompt, Output>[][] {
  const lengths = policy.lengths?.(...columns(dataset), config)
  if (!lengths) throw new Error('sft: packing is true, and this policy has no tokens to pack. Leave it out.')
  return packRows(lengths, config.max_length!).map(rows => rows.map(row => dataset[row]!))
}

/** Fills an SFT configuration and checks it.
 * @throws naming the field */
export function resolveSftConfig(given: Partial<SftConfig>): SftConfig {
  const config = resolveConfig('SftConfig', sftDefaults, given, ['max_length'])
  checkTrainingConfig('SftConfig', config)
  checkTruncationConfig('SftConfig', config)
  if (![true, false, null].includes(config.completion_only_loss))
    throw new Error(
      `SftConfig: completion_only_loss is ${JSON.stringify(config.completion_only_loss)}, needs true, false or null.`,
    )
  if (config.packing && config.max_length === null)
    throw new Error('SftConfig: packing needs the length of a pack, max_length is null. Set it.')
  return config
}
