import { requireOneOf, requireWhole, resolveConfig } from '../config.js'
import type { WeightType } from '../io/checkpoint.js'
import { parseYaml, readYaml } from '../io/yaml.js'
import {
  dpoDefaults,
  grpoDefaults,
  resolveDpoConfig,
  resolveGrpoConfig,
  resolveSftConfig,
  resolveSrpoConfig,
  sftDefaults,
  srpoDefaults,
  withTrlNames,
  type DpoConfig,
} from '../optimizers/index.js'
import { WARNINGS } from '../optimizers/warnings.js'
import { weighted, type WeightedRewards } from '../rewards/index.js'
import type { ReportTo } from '../runs/index.js'
import { loraDefaults } from '../models/index.js'
import { lookUp, mappingOf, textOf, without } from './named.js'
import { resolveDataset, type DatasetConfig } from './namedDatasets.js'
import { makeRewards, resolveRewards, type RewardConfig } from './namedRewards.js'

/** What `train` and `evaluate` read from a YAML file. */
export interface ExperimentConfig {
  /** `sft`, `grpo`, `dpo` or `srpo`. */
  optimizer: keyof typeof METHODS
  /** Directory or Hugging Face id (`org/name`, `org/name@revision`) of a language model in Hugging Face's layout, or of a FluxKontextPipeline. */
  model: string
  /** Train an adapter: a fresh one of PEFT's fields, `{ r: 8 }`, or the directory of a stored one; null: train all weights. */
  adapter: Record<string, unknown> | string | null
  /** `nf4`: keep the frozen matrices in 4 bits (QLoRA). */
  quantization: 'nf4' | null
  /** How weights are kept and computed with: `float32` or `bfloat16`; an adapter stays in float32. */
  dtype: WeightType
  /** Keep each layer's input only, and compute the rest anew for the gradient. */
  gradient_checkpointing: boolean
  /** Of a vision-language model, whether the language model learns: its adapter, or all its weights; null: yes. */
  tune_mm_llm: boolean | null
  /** All weights of its vision tower; null: no. */
  tune_mm_vision: boolean | null
  /** All weights of what connects the two (Qwen's merger); null: yes, but not beside an adapter. */
  tune_mm_mlp: boolean | null
  /** What is trained on: `{ path }` of rows with TRL's columns, or `{ name, … }`. */
  dataset: DatasetConfig | null
  /** Held-out rows to evaluate on, after the last step and each `eval_steps`. */
  eval_dataset: DatasetConfig | null
  /** Rewards by name: `{ use, weight, … }` with the options of what is used. For grpo, srpo, and dpo with `pairs: on_policy`. */
  rewards: Record<string, RewardConfig>
  /** The method's configuration, below. */
  args: Args
  /** Folder of the run: config.yaml, metrics.jsonl, samples.jsonl, model/, checkpoint-STEP/. */
  output_dir: string | null
  /** Written by `train` into the folder's config.yaml; not read. */
  versions: unknown
}

/** What `train` does beside updates; names and defaults are those of transformers and TRL. */
export interface LoopConfig {
  /** Evaluate each so many steps too; null: after the last only. */
  eval_steps: number | null
  /** Rows (completions) at a time. */
  per_device_eval_batch_size: number
  /** Completions a prompt; null: as `num_generations`. */
  num_generations_eval: number | null
  /** Write a checkpoint each so many steps, and where a run is stopped or fails; null: only there. */
  save_steps: number | null
  /** Keep the last so many checkpoints; null: all. */
  save_total_limit: number | null
  /** A metric of the evaluation (`eval_` may be left out) by which checkpoints are ranked; null: none, or with `load_best_model_at_end` the loss. */
  metric_for_best_model: string | null
  /** null: unless its name ends with `loss`. */
  greater_is_better: boolean | null
  /** Leave the best checkpoint's weights in `model/`, not the last ones. */
  load_best_model_at_end: boolean
  /** What to do at a warning, by its kind: `warn` (default), `stop`, or `rollback` to a checkpoint before, from which the run goes on with other rows. */
  on_warning: Readonly<Record<string, WarningAction>>
  /** `tensorboard`: write its event files into the run's folder. (transformers: more services, and a list.) */
  report_to: ReportTo
}

export type WarningAction = (typeof ACTIONS)[number]
const ACTIONS = ['warn', 'stop', 'rollback'] as const

/** The arguments of a method, every one filled in, and of the loop around it. */
export type Args = Readonly<Record<string, unknown>> & LoopConfig & { seed: number }

export const experimentDefaults = {
  optimizer: null,
  model: null,
  adapter: null,
  quantization: null,
  dtype: 'float32',
  gradient_checkpointing: true,
  tune_mm_llm: null,
  tune_mm_vision: null,
  tune_mm_mlp: null,
  dataset: null,
  eval_dataset: null,
  rewards: {},
  args: {},
  output_dir: null,
  versions: null,
}

export const loopDefaults: LoopConfig = {
  eval_steps: null,
  per_device_eval_batch_size: 8,
  num_generations_eval: null,
  save_steps: 500,
  save_total_limit: null,
  metric_for_best_model: null,
  greater_is_better: null,
  load_best_model_at_end: false,
  on_warning: {},
  report_to: 'none',
}

/** The methods: what their arguments are by default, and what fills and checks given ones. */
export const METHODS = {
  sft: { defaults: sftDefaults, resolve: (args: object) => resolveSftConfig(args) },
  grpo: { defaults: grpoDefaults, resolve: (args: object) => resolveGrpoConfig(args) },
  dpo: {
    defaults: without(dpoDefaults, ['rewards']), // they stand beside args
    resolve: (args: object, rewards: WeightedRewards | null) =>
      without(resolveDpoConfig({ ...args, rewards }), ['rewards']) as Omit<DpoConfig, 'rewards'>,
  },
  srpo: {
    defaults: srpoDefaults,
    resolve: (args: object, rewards: WeightedRewards | null) => resolveSrpoConfig(args, rewards?.names ?? []),
  },
}

/** A config with its rewards made. */
export interface Experiment {
  config: ExperimentConfig
  rewards: WeightedRewards | null
}

/** Reads a training config, fills it and checks every field. No data and no weights are read.
 * @param sets changes such as `args.max_steps=10`, the values in YAML
 * @throws Error naming the field that is unknown, does not fit, or contradicts another */
export async function readExperiment(path: string, sets: readonly string[] = []): Promise<Experiment> {
  const given = readYaml(path)
  for (const set of sets) assign(given, set)
  return resolveExperiment(path, given)
}

/** The field `rewards` of a config, whatever else is in it.
 * @throws as {@link readExperiment} */
export function readRewards(path: string): Record<string, RewardConfig> {
  const { rewards } = readYaml(path)
  return resolveRewards(`${path}: rewards`, rewards)
}

async function resolveExperiment(where: string, given: Record<string, unknown>): Promise<Experiment> {
  const fields: Record<string, unknown> = resolveConfig<Record<string, unknown>>(where, experimentDefaults, given)
  const optional = <T>(key: string, read: (value: unknown) => T): T | null =>
    fields[key] === null ? null : read(fields[key])
  const text = (key: string, example: string) => textOf(where, key, fields[key], example)

  const flag = (key: string) =>
    optional(key, value => {
      if (typeof value !== 'boolean')
        throw new Error(`${where}: ${key} is ${JSON.stringify(value)}, needs true, false or null.`)
      return value
    })

  const optimizer = text('optimizer', 'grpo') as keyof typeof METHODS
  lookUp(where, 'optimizer', optimizer, METHODS)
  const adapter = optional('adapter', value =>
    typeof value === 'string' ? value : mappingOf(`${where}: adapter`, value),
  )
  if (typeof adapter === 'object' && adapter !== null) resolveConfig(`${where}: adapter`, loraDefaults(), adapter)
  const quantization = optional('quantization', value => String(value)) as 'nf4' | null
  if (quantization !== null) requireOneOf(where, 'quantization', quantization, ['nf4'])
  if (quantization !== null && adapter === null && fields['tune_mm_mlp'] !== true)
    throw new Error(`${where}: quantization is ${quantization} without an adapter, so that nothing could be trained. Add adapter: { r: 8 }.`) // prettier-ignore
  const dtype = text('dtype', 'float32') as WeightType
  requireOneOf(where, 'dtype', dtype, ['float32', 'bfloat16'])

  const rewardConfigs = resolveRewards(`${where}: rewards`, fields['rewards'] ?? {})
  const made = await makeRewards(`${where}: rewards`, rewardConfigs)
  const rewards = Object.keys(made).length === 0 ? null : weighted(made)
  if (optimizer === 'sft' && rewards !== null)
    throw new Error(`${where}: rewards are given but optimizer is sft, which uses none. Leave them out, or use grpo.`)
  if ((optimizer === 'grpo' || optimizer === 'srpo') && rewards === null)
    throw new Error(`${where}: optimizer is ${optimizer} without rewards. Add for example rewards: { correct: exactAnswer }.`) // prettier-ignore

  const eval_dataset = optional('eval_dataset', value => resolveDataset(`${where}: eval_dataset`, value, 'test'))
  const args = resolveArgs(`${where}: args`, optimizer, mappingOf(`${where}: args`, fields['args'] ?? {}), rewards)
  if (args.eval_steps !== null && eval_dataset === null)
    throw new Error(`${where}: args.eval_steps is ${args.eval_steps} without eval_dataset. Add one, or leave it out.`)

  const config: ExperimentConfig = {
    optimizer,
    model: text('model', 'data/models/tiny-qwen2'),
    adapter,
    quantization,
    dtype,
    gradient_checkpointing: fields['gradient_checkpointing'] as boolean,
    tune_mm_llm: flag('tune_mm_llm'),
    tune_mm_vision: flag('tune_mm_vision'),
    tune_mm_mlp: flag('tune_mm_mlp'),
    dataset: optional('dataset', value => resolveDataset(`${where}: dataset`, value, 'train')),
    eval_dataset,
    rewards: rewardConfigs,
    args,
    output_dir: optional('output_dir', () => text('output_dir', 'runs/first')),
    versions: null,
  }
  return { config, rewards }
}

function resolveArgs(
  where: string,
  optimizer: keyof typeof METHODS,
  stated: Record<string, unknown>,
  rewards: WeightedRewards | null,
): Args {
  const given = optimizer === 'grpo' ? withTrlNames(where, stated) : stated
  const { defaults, resolve } = METHODS[optimizer]
  if ('rewards' in given) throw new Error(`${where}: rewards stand beside args, not in them. Move them out.`)
  resolveConfig<Record<string, unknown>>(where, { ...defaults, ...loopDefaults }, given) // names and types
  const own = Object.entries(given).filter(([key]) => key in loopDefaults)
  const loop: LoopConfig = { ...loopDefaults, ...Object.fromEntries(own) }
  for (const key of [
    'eval_steps',
    'per_device_eval_batch_size',
    'num_generations_eval',
    'save_steps',
    'save_total_limit',
  ] as const)
    if (loop[key] !== null) requireWhole(where, key, loop[key], 1)
  requireOneOf(where, 'report_to', loop.report_to, ['none', 'tensorboard'])
  for (const [kind, action] of Object.entries(mappingOf(`${where}: on_warning`, loop.on_warning))) {
    requireOneOf(where, 'on_warning', kind, WARNINGS)
    requireOneOf(where, `on_warning.${kind}`, String(action), kind === 'disk' ? ['warn', 'stop'] : ACTIONS)
  }
  if (loop.load_best_model_at_end) loop.metric_for_best_model ??= 'loss' // as transformers
  if (loop.metric_for_best_model !== null) {
    loop.greater_is_better ??= !loop.metric_for_best_model.endsWith('loss')
    const { eval_steps, save_steps } = loop
    if (eval_steps === null || save_steps === null || save_steps % eval_steps !== 0)
      throw new Error(`${where}: save_steps (${save_steps}) must be a multiple of eval_steps (${eval_steps}) with metric_for_best_model, so that what is saved was measured. Set both to ${eval_steps ?? save_steps ?? 100}.`) // prettier-ignore
  }
  return { ...resolve(ownArgs(given), rewards), ...loop }
}

/** The arguments that are the method's own. */
export const ownArgs = (args: object): Record<string, unknown> => without(args, Object.keys(loopDefaults))

/** The first field in which two configs differ, with both values as JSON; their arguments count as fields. None: undefined.
 * @param free fields that may differ */
export function changedField(
  before: object,
  after: object,
  free: readonly string[],
): { field: string; was?: string; is?: string } | undefined {
  const flat = (config: { args?: object }) => without({ ...config, ...config.args }, ['args', ...free])
  const [was, is] = [flat(before), flat(after)]
  const fields = new Set([...Object.keys(was), ...Object.keys(is)])
  return [...fields]
    .map(field => ({ field, was: JSON.stringify(was[field]), is: JSON.stringify(is[field]) }))
    .find(({ was, is }) => was !== is)
}

/** Carries out `a.b=value`. */
export function assign(config: Record<string, unknown>, set: string): void {
  const [, path, value] = /^([^=]+)=(.*)$/s.exec(set) ?? []
  if (path === undefined) throw new Error(`--set ${set}: needs FIELD=VALUE, for example args.max_steps=10.`)
  const keys = path.split('.')
  let at = config
  if (keys.includes('__proto__')) throw new Error(`--set ${set}: unknown field.`)
  for (const key of keys.slice(0, -1)) at = mappingOf(`--set ${set}: ${key}`, (at[key] ??= {}))
  at[keys.at(-1)!] = parseYaml(value!, `--set ${set}`)
}
