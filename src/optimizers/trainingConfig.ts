import { requireInside, requireOneOf, requireWhole } from '../config.js'
import { checkLearningRateConfig, type LearningRateConfig } from './learningRate.js'
import { checkPartRates, partRatesDefaults, type PartRates } from './partRates.js'

/** What every method's configuration holds; names and defaults are those of transformers' TrainingArguments, except
 * `shuffle` (there: train_sampling_strategy). */
export interface TrainingConfig extends LearningRateConfig, PartRates {
  /** Updates to do; −1: as many as `num_train_epochs` needs. */
  max_steps: number
  /** Passes over the data set, where `max_steps` is −1. */
  num_train_epochs: number
  /** Rows (completions, pairs) in one forward pass. */
  per_device_train_batch_size: number
  /** Forward and backward passes per update. */
  gradient_accumulation_steps: number
  /** `adamw_8bit`: moments in 8 bits (bitsandbytes), a quarter of their memory. Default `adamw_torch` (in transformers: its fused form). */
  optim: 'adamw_torch' | 'adamw_8bit'
  weight_decay: number
  adam_beta1: number
  adam_beta2: number
  adam_epsilon: number
  /** Bound on the global gradient norm; 0 does not clip. */
  max_grad_norm: number
  /** A step whose loss or gradient is not finite changes neither weights nor optimizer, and counts as a step of the schedule; so many in a row end the run.
   * (In optax' apply_if_finite: max_consecutive_errors.) */
  max_skipped_steps: number
  /** Keeps a moving average of the trainable weights with this decay, in the state as `ema`; 0: none. As in diffusers' EMAModel, the decay
   * after t updates is at most (1 + t)/(10 + t), and at first 0. */
  ema_decay: number
  /** Compute products in bfloat16, by autocast: weights and all else stay as they are, so that weights loaded in float32 are
   * the master copies. Here false, in TRL true. */
  bf16: boolean
  /** Draw rows in a new order each epoch; false keeps the data set's order. */
  shuffle: boolean
  seed: number
  /** Name of the run; null: the method's. */
  run_name: string | null
}

export const trainingDefaults: TrainingConfig = {
  learning_rate: 5e-5,
  ...partRatesDefaults,
  lr_scheduler_type: 'linear',
  warmup_steps: 0,
  lr_scheduler_kwargs: null,
  max_steps: -1,
  num_train_epochs: 3,
  per_device_train_batch_size: 8,
  gradient_accumulation_steps: 1,
  optim: 'adamw_torch',
  weight_decay: 0,
  adam_beta1: 0.9,
  adam_beta2: 0.999,
  adam_epsilon: 1e-8,
  max_grad_norm: 1,
  max_skipped_steps: 5,
  ema_decay: 0,
  bf16: false,
  shuffle: true,
  seed: 42,
  run_name: null,
}

/** @throws if a number of the shared configuration is out of range */
export function checkTrainingConfig(where: string, config: TrainingConfig): void {
  checkLearningRateConfig(where, config)
  checkPartRates(where, config)
  requireOneOf(where, 'optim', config.optim, ['adamw_torch', 'adamw_8bit'])
  requireWhole(where, 'per_device_train_batch_size', config.per_device_train_batch_size, 1)
  requireWhole(where, 'gradient_accumulation_steps', config.gradient_accumulation_steps, 1)
  requireWhole(where, 'max_skipped_steps', config.max_skipped_steps, 1)
  requireWhole(where, 'seed', config.seed, 0)
  if (config.max_steps === -1) requireInside(where, 'num_train_epochs', config.num_train_epochs, '(0, ∞)')
  else requireWhole(where, 'max_steps', config.max_steps, 1)
  for (const name of ['adam_beta1', 'adam_beta2', 'ema_decay'] as const)
    requireInside(where, name, config[name], '[0, 1)')
  for (const name of ['weight_decay', 'adam_epsilon', 'max_grad_norm'] as const)
    requireInside(where, name, config[name], '[0, ∞)')
}

/** Updates in a run whose step consumes `rowsPerStep` rows of a data set: what transformers' Trainer does. */
export function totalSteps(config: TrainingConfig, rows: number, rowsPerStep: number): number {
  if (config.max_steps !== -1) return config.max_steps
  return Math.ceil(config.num_train_epochs * Math.max(1, Math.ceil(rows / rowsPerStep)))
}
