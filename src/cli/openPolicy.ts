import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { modelDirectory } from '../io/hub.js'
import { loadKontextPolicy, loadPolicy, type Policy, type SaveOptions, type TunedParts } from '../policies/index.js'
import type { ExperimentConfig } from './experiment.js'

/** A policy that can be written to a directory. */
export interface StoredPolicy extends Policy {
  /** Tokens that the context has left behind a prompt, where outputs are tokens. */
  room?(prompt: unknown): Promise<number>
  save(dir: string, options?: SaveOptions): Promise<void>
}

/** Whether a directory, or a model of the Hugging Face hub, is a pipeline, whose outputs are pictures, and no language model. */
export const isPipeline = async (model: string): Promise<boolean> =>
  existsSync(join(await modelDirectory(model), 'model_index.json'))

/** Loads the policy of a config.
 * @throws Error naming what is missing in its directory */
export async function openPolicy(config: Omit<ExperimentConfig, 'optimizer'>): Promise<StoredPolicy> {
  const { model, adapter, quantization, dtype, gradient_checkpointing, args } = config
  const options = { adapter: adapter ?? undefined, quantization, dtype, gradient_checkpointing, seed: args.seed }
  const parts = tunedParts(config)
  if (!(await isPipeline(model))) return loadPolicy(model, { ...options, ...parts })
  if (Object.keys(parts).length > 0)
    throw new Error(`${Object.keys(parts)[0]}: ${model} edits pictures, and is no vision-language model. Leave it out.`)
  return loadKontextPolicy(model, options)
}

/** What a config says of the parts of a vision-language model. */
export function tunedParts(config: Pick<ExperimentConfig, keyof TunedParts>): TunedParts {
  const { tune_mm_llm, tune_mm_vision, tune_mm_mlp } = config
  return Object.fromEntries(Object.entries({ tune_mm_llm, tune_mm_vision, tune_mm_mlp }).filter(([, value]) => value !== null)) // prettier-ignore
}
