import { join } from 'node:path'
import type { WeightType } from '../io/checkpoint.js'
import { modelDirectory } from '../io/hub.js'
import { readJson } from '../io/json.js'
import { requireOneOf, resolveConfig } from '../config.js'
import { loadTokenizer, type Tokenizer } from '../io/tokenizer.js'
import { initAdapter, loadAdapter, loadCausalModel, type LoraConfig } from '../models/index.js'
import { disposeTree, mesh as meshOf, shard, start, type Mesh, type TensorTree } from '../xla/index.js'
import { LanguagePolicy } from './languagePolicy.js'
import { learningParts, type TunedParts } from './learningParts.js'
import { weightRule, withRowsDivided, type WeightRule, type WeightSharding } from './sharding.js'

export interface PolicyOptions extends TunedParts {
  /** Train an adapter and keep the weights frozen: a fresh one of this configuration, or one stored in PEFT's layout.
   * Left out: all weights are trained, of a model that sees those of the parts that learn. */
  adapter?: Partial<LoraConfig> | string
  /** How the model's weights are kept and computed with: a layer computes in the type of its input. An adapter stays in
   * float32, as in PEFT. Default float32. */
  dtype?: WeightType
  /** `nf4`: the matrices of the layers are kept in 4 bits an entry and restored in `dtype` where they are used (QLoRA); all
   * weights are frozen, so that training needs an adapter. Default null. */
  quantization?: 'nf4' | null
  /** Training keeps each layer's input for the gradient, and computes the rest of the layer anew: less memory, more time.
   * Default true (TRL). */
  gradient_checkpointing?: boolean
  /** Of a fresh adapter. Default 0. */
  seed?: number
  /** Read no weights: zeros stand for them, which nothing computes unless they are read. For estimates. Default false. */
  zeros?: boolean
  /** Run on several devices: `data` of them divide the rows of a batch, `model` of them the matrices of each layer (tensor
   * parallel). Sampling and training follow. A batch remains what the configuration says, all devices together. Default null:
   * one device. */
  mesh?: { data?: number; model?: number } | null
  /** What devices along `data` keep: `ddp`, each all weights and moments; `fsdp`, each its share (FSDP, ZeRO-3). Default ddp. */
  sharding?: WeightSharding
}

/** Loads a model in Hugging Face's layout as a policy, and starts the engine if nothing has.
 * @param name a directory, or an id of the Hugging Face hub: see {@link modelDirectory}
 * @throws Error naming the file and field, or all tensors, that do not fit; for quantization on a stock backend */
export async function loadPolicy(name: string, options: PolicyOptions = {}): Promise<LanguagePolicy> {
  const { adapter, dtype, quantization, gradient_checkpointing, seed, zeros, mesh, sharding, ...flags } = resolveConfig<
    Required<Omit<PolicyOptions, 'adapter' | keyof TunedParts>> & PolicyOptions
  >(
    'loadPolicy',
    {
      adapter: undefined,
      dtype: 'float32',
      quantization: null,
      gradient_checkpointing: true,
      seed: 0,
      zeros: false,
      mesh: null,
      sharding: 'ddp',
      tune_mm_llm: undefined,
      tune_mm_vision: undefined,
      tune_mm_mlp: undefined,
    },
    options,
  )
  requireOneOf('loadPolicy', 'dtype', dtype, ['float32', 'bfloat16'])
  requireOneOf('loadPolicy', 'sharding', sharding, ['ddp', 'fsdp'])
  if (quantization !== null) requireOneOf('loadPolicy', 'quantization', quantization, ['nf4'])
  await start()
  const devices = mesh && meshOf(resolveConfig('loadPolicy: mesh', { data: 1, model: 1 }, mesh))
  const placed = (tree: TensorTree) => (devices ? moved(tree, devices, weightRule(devices, sharding)) : tree)
  const dir = await modelDirectory(name)
  const tokenizer = await loadTokenizer(dir)
  const loaded = await loadCausalModel(dir, { dtype, quantization, gradient_checkpointing, zeros })
  const model = devices ? withRowsDivided(loaded.model, devices) : loaded.model
  const weights = placed(loaded.weights)
  const processor = await model.vision?.processor(dir, tokenizer)
  const source = { name, dir, model, tokenizer, processor, ...(await endTokens(dir, tokenizer)) }
  if (adapter === undefined) return new LanguagePolicy(source, learningParts(model, weights, flags))
  const lora =
    typeof adapter === 'string' ? await loadAdapter(model, adapter) : initAdapter(model, adapter, seed, weights)
  const parts = learningParts(model, weights, flags, { ...lora, weights: placed(lora.weights) })
  return new LanguagePolicy(source, parts, lora.config)
}

/** The tensors on a mesh, and no longer where they were. */
function moved(tree: TensorTree, mesh: Mesh, rule: WeightRule): TensorTree {
  const there = shard(tree, mesh, rule)
  disposeTree(tree)
  return there
}

/** Tokens that end a completion, and the one that pads: generation_config.json, else config.json, there perhaps its text_config (BLIP-2), else the
 * tokenizer. */
async function endTokens(dir: string, tokenizer: Tokenizer): Promise<{ stop: number[]; pad: number }> {
  const generation = await readJson(join(dir, 'generation_config.json'), { optional: true })
  const config = await readJson(join(dir, 'config.json'))
  const text = (config['text_config'] ?? {}) as Record<string, unknown>
  const first = (name: 'eos_token_id' | 'pad_token_id'): unknown =>
    generation[name] ?? config[name] ?? text[name] ?? tokenizer[name]
  const stop = [first('eos_token_id')].flat().filter(id => typeof id === 'number')
  if (stop.length === 0)
    throw new Error(
      `${dir}: found no eos_token_id in generation_config.json, config.json or the tokenizer; needed one.`,
    )
  const pad = first('pad_token_id')
  return { stop, pad: typeof pad === 'number' ? pad : stop[0]! }
}
