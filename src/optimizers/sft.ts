import * as tf from '@tensorflow/tfjs-core'
import { requireColumns } from '../datasets/index.js'
import type { Policy } from '../policies/policy.js'
import type { TensorTree } from '../xla/tree.js'
import { resolveConfig } from '../config.js'
import { drawRows } from './drawRows.js'
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
}

export const sftDefaults: SftConfig = {
  ...trainingDefaults,
  ...truncationDefaults,
  learning_rate: 2e-5,
  completion_only_loss: null,
  assistant_only_loss: false,
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
  const draw = drawRows(dataset, config)
  return train<{ outputs: TensorTree }>({
    name: 'sft',
    policy,
    usesReference: false,
    config,
    steps: totalSteps(config, dataset.length, rowsPerStep),
    datasetSize: dataset.length,
    state,
    loss:
      (_frozen, { outputs }, key) =>
      weights => {
        const { score, length } = policy.score(weights, outputs, key) // [B]
        const tokens = tf.sum(length)
        return { sum: tf.neg(tf.sum(score)), normalizer: tokens, tokens, metrics: {} }
      },
    next: async ({ position }) => {
      const rows = draw(position, rowsPerStep)
      const outputs = await policy.encode(
        rows.map(row => row.prompt ?? ([] as Prompt)), // a conversation begins with nothing
        rows.map(row => row.completion ?? row.messages!),
        config,
      )
      return { rows: { outputs }, drawn: rowsPerStep, metrics: {} }
    },
  })
}

/** Fills an SFT configuration and checks it.
 * @throws naming the field */
export function resolveSftConfig(given: Partial<SftConfig>): SftConfig {
  const config = resolveConfig('SftConfig', sftDefaults, given)
  checkTrainingConfig('SftConfig', config)
  checkTruncationConfig('SftConfig', config)
  return config
}
