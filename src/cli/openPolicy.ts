import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadKontextPolicy, loadPolicy, type Policy } from '../policies/index.js'
import type { ExperimentConfig } from './experiment.js'

/** A policy that can be written to a directory. */
export interface StoredPolicy extends Policy {
  save(dir: string): Promise<void>
}

/** Whether a directory holds a pipeline, whose outputs are pictures, and no language model. */
export const isPipeline = (dir: string): boolean => existsSync(join(dir, 'model_index.json'))

/** Loads the policy of a config.
 * @throws Error naming what is missing in its directory */
export function openPolicy(config: Omit<ExperimentConfig, 'optimizer'>): Promise<StoredPolicy> {
  const { model, adapter, quantization, dtype, gradient_checkpointing, args } = config
  const options = { adapter: adapter ?? undefined, quantization, dtype, gradient_checkpointing, seed: args.seed }
  return isPipeline(model) ? loadKontextPolicy(model, options) : loadPolicy(model, options)
}
