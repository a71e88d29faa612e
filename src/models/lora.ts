import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { leafAt, loadWeights, openCheckpoint, saveWeights, treeOf, type Parameter } from '../io/checkpoint.js'
import { modelDirectory } from '../io/hub.js'
import { Fields, readFields } from '../io/json.js'
import { withinTime } from '../io/withinTime.js'
import type { TensorSource } from '../io/safetensors.js'
import { resolveConfig } from '../config.js'
import { rowLengths } from '../nn/index.js'
import { dequantizeNf4, disposeTree, eachTensor, isNf4, random, tensorsOf, type TensorTree } from '../xla/index.js'
import type { CausalModel } from './causalModel.js'
import { drawEach } from './drawEach.js'
import type { ForwardModel } from './forwardModel.js'
import { visionPartOf } from './vision.js'

/** What an adapter is laid on: a language model or a part of a pipeline. */
type Base = Pick<ForwardModel, 'architecture' | 'parameters' | 'layers' | 'part'>

/** A LoRA adapter, under PEFT's names. */
export interface LoraConfig {
  /** Rank. Default 8 (PEFT). */
  r: number
  /** The adapter's output is scaled by lora_alpha / r. Default 8 (PEFT). */
  lora_alpha: number
  /** Names of linear layers (`q_proj`), `all-linear`, or one regular expression for whole names. Default for language models q_proj
   * and v_proj (PEFT), for FLUX {@link FLUX_TARGETS}. */
  target_modules: string | readonly string[]
  /** Scale by lora_alpha / √r instead. Default false (PEFT); rsLoRA, arXiv 2312.03732. */
  use_rslora: boolean
  /** Learn direction and length of each row of the weights apart. Language models only. Default false (PEFT); DoRA, arXiv 2402.09353. */
  use_dora: boolean
}

/** The projections of attention and MLP.
 * @source diffusers 0.42, examples/dreambooth/train_dreambooth_lora_flux_kontext.py */
const FLUX_TARGETS = [
  'attn.to_k',
  'attn.to_q',
  'attn.to_v',
  'attn.to_out.0',
  'attn.add_k_proj',
  'attn.add_q_proj',
  'attn.add_v_proj',
  'attn.to_add_out',
  'ff.net.0.proj',
  'ff.net.2',
  'ff_context.net.0.proj',
  'ff_context.net.2',
  'proj_mlp',
]
const DEFAULT_TARGETS: Record<string, readonly string[]> = { FluxTransformer2DModel: FLUX_TARGETS }

/** What an adapter of an architecture is by default. */
export const loraDefaults = (architecture = ''): LoraConfig => ({
  r: 8,
  lora_alpha: 8,
  target_modules: DEFAULT_TARGETS[architecture] ?? ['q_proj', 'v_proj'],
  use_rslora: false,
  use_dora: false,
})

/** An adapter of a model: `weights` (lora_A, lora_B, DoRA's lora_magnitude_vector, and a model's own that are stored whole beside them) are
 * trained, `scaling` (lora_scaling) lies beside the frozen weights. */
export interface Adapter {
  config: LoraConfig
  weights: TensorTree
  scaling: TensorTree
}

/** A fresh adapter as PEFT draws it: A uniform in ±1/√in, B zero, DoRA's magnitudes the lengths of the rows, so that it changes nothing yet.
 * @param seed of A
 * @param base the model's weights, which DoRA needs
 * @throws Error for unknown fields, a rank below 1, or names that match no layer */
export function initAdapter(model: Base, given: Partial<LoraConfig>, seed: number, base?: TensorTree): Adapter {
  const config = resolveConfig('LoraConfig', loraDefaults(model.architecture), given)
  if (!Number.isInteger(config.r) || config.r < 1)
    throw new Error(`LoraConfig: r is ${config.r}, needed an integer ≥ 1.`)
  const targets = targetsOf(model, config)
  if (config.use_dora && base === undefined) throw new Error('initAdapter: use_dora is true, needed the weights.')
  const parameters = adapterParameters(model, targets, config)
  const shapes = parameters.map(({ layers, shape }) => (layers === undefined ? shape : [layers, ...shape]))
  const uniform = drawEach(shapes, size => random.uniform(random.key(seed), [size]))
  const leaves = parameters.map(({ path, shape }, i): [string, tf.Tensor] => {
    if (path.endsWith(MAGNITUDE)) return [path, magnitudes(leafAt(base!, path.replace(MAGNITUDE, 'weight')))]
    const bound = path.endsWith('lora_A') ? shape[1]! ** -0.5 : 0
    return [path, tf.tidy(() => tf.mul(tf.sub(uniform[i]!, 0.5), 2 * bound))]
  })
  disposeTree(uniform)
  return { config, weights: treeOf(leaves), scaling: scalingOf(model, targets, config) }
}

const MAGNITUDE = 'lora_magnitude_vector'

/** The lengths of the rows of a matrix, or of those of all layers, 4-bit ones a layer at a time. */
function magnitudes(weight: TensorTree): tf.Tensor {
  return tf.tidy(() => {
    if (!isNf4(weight)) return rowLengths(weight as tf.Tensor)
    if (weight.packed.rank === 2) return rowLengths(dequantizeNf4(weight))
    const [packed, absmax, nested_absmax, offset] = [weight.packed, weight.absmax, weight.nested_absmax, weight.offset].map(t => tf.unstack(t)) // prettier-ignore
    const layers = packed!.map((_, l) => ({ packed: packed![l]!, absmax: absmax![l]!, nested_absmax: nested_absmax![l]!, offset: offset![l]! })) // prettier-ignore
    return tf.stack(layers.map(magnitudes))
  })
}

/** Reads an adapter: of a language model in PEFT's layout, adapter_config.json and adapter_model.safetensors; of a part of a pipeline
 * in diffusers', pytorch_lora_weights.safetensors, whose metadata may hold the configuration.
 * @param name a directory, or an id of the Hugging Face hub
 * @throws Error naming fields that ask for what is not supported, or all tensors that do not fit the model */
export async function loadAdapter(model: Base, name: string): Promise<Adapter> {
  const dir = await modelDirectory(name)
  const peft = model.part ? null : await readFields(join(dir, 'adapter_config.json'))
  const source = await openCheckpoint(dir, peft ? 'adapter_model' : 'pytorch_lora_weights')
  try {
    const fields = peft ?? diffusersFields(model.part!, source)
    const config = adapterConfig(fields)
    const targets = targetsOf(model, config, fields.where)
    const parameters = [
      ...adapterParameters(model, targets, config),
      ...wholeParameters(model, savedModules(model, fields)),
    ]
    const weights = await loadWeights(source, parameters, {})
    return { config, weights, scaling: scalingOf(model, targets, config) }
  } finally {
    await source.close()
  }
}

/** @throws Error naming fields that ask for what is not supported */
function adapterConfig(fields: Fields): LoraConfig {
  fields.only('peft_type', 'LORA')
  for (const flag of ['use_qalora', 'fan_in_fan_out', 'lora_bias']) fields.only(flag, false)
  for (const unset of ['layers_to_transform', 'layer_replication', 'target_parameters', 'exclude_modules'])
    fields.only(unset)
  for (const map of ['rank_pattern', 'alpha_pattern'])
    if (Object.keys(fields.get(map) ?? {}).length > 0) fields.fail(map, 'no pattern')
  fields.only('bias', 'none')
  const targets = fields.get('target_modules')
  const texts = Array.isArray(targets) && targets.length > 0 && targets.every(target => typeof target === 'string')
  if (typeof targets !== 'string' && !texts) fields.fail('target_modules', 'names of layers, or a pattern')
  return {
    r: fields.count('r'),
    lora_alpha: fields.number('lora_alpha'),
    target_modules: targets,
    use_rslora: fields.flag('use_rslora', false),
    use_dora: fields.flag('use_dora', false),
  }
}

const DIFFUSERS_CONFIG = 'lora_adapter_metadata'

/** The configuration in the metadata of a file that diffusers saved; without, what diffusers infers: the rank of the first matrix, a
 * lora_alpha of as much, and the modules that there are. */
function diffusersFields(part: string, { path, metadata, tensors }: TensorSource): Fields {
  const stored = metadata[DIFFUSERS_CONFIG]
  if (stored !== undefined) {
    const all = Object.entries(JSON.parse(stored) as Record<string, unknown>)
    const own = all.filter(([key]) => key.startsWith(`${part}.`)).map(([key, value]) => [key.slice(part.length + 1), value] as const) // prettier-ignore
    return new Fields(Object.fromEntries(own), `${path}: ${DIFFUSERS_CONFIG}`)
  }
  const downs = [...tensors].filter(([name]) => name.startsWith(`${part}.`) && name.endsWith('.lora_A.weight'))
  const modules = downs.map(([name]) => name.slice(part.length + 1, -'.lora_A.weight'.length))
  const patterns = modules.map(name => name.replace(/blocks\.\d+/, 'blocks.\\d+').replaceAll('.', '\\.'))
  const r = downs[0]?.[1].shape[0]
  return new Fields({ r, lora_alpha: r, target_modules: [...new Set(patterns)].join('|') }, path)
}

/** Writes an adapter in the layout that {@link loadAdapter} reads.
 * @param base what PEFT shall load the adapter on: a directory or hub id */
export async function saveAdapter(
  model: Base,
  config: LoraConfig,
  weights: TensorTree,
  dir: string,
  base: string,
): Promise<void> {
  await mkdir(dir, { recursive: true })
  const adapted = adapterParameters(model, targetsOf(model, config), config)
  const paths = new Set<string>()
  eachTensor(weights, (_, path) => paths.add(path))
  const whole = model.parameters.filter(({ path }) => paths.has(path))
  const parameters = [...adapted, ...wholeParameters(model, whole)]
  const json = {
    peft_type: 'LORA',
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    lora_dropout: 0,
    ...config,
    ...(whole.length > 0 && { modules_to_save: outermost(whole.flatMap(p => modulesOf(model, p))) }),
  }
  if (model.part) {
    const fields = Object.entries(json).map(([key, value]) => [`${model.part}.${key}`, value] as const)
    const metadata = { [DIFFUSERS_CONFIG]: JSON.stringify(Object.fromEntries(fields), null, 2) }
    return saveWeights(join(dir, 'pytorch_lora_weights.safetensors'), weights, parameters, { metadata })
  }
  const named = { task_type: 'CAUSAL_LM', base_model_name_or_path: base, ...json }
  await writeFile(join(dir, 'adapter_config.json'), `${JSON.stringify(named, null, 2)}\n`)
  await saveWeights(join(dir, 'adapter_model.safetensors'), weights, parameters, {})
}

/** Weights with each adapter added in: W + s·B·A, and no adapter beside them.
 * @param weights a tree that holds base weights and adapter
 * @throws Error for quantised weights */
export function mergeAdapter(weights: TensorTree): TensorTree {
  if (weights instanceof tf.Tensor || Array.isArray(weights)) return weights
  if (isNf4(weights))
    throw new Error(
      'mergeAdapter: the weights are quantised to 4 bits. Save the adapter alone, load the model without quantization, and merge there.',
    )
  const { lora_A, lora_B, lora_scaling, lora_magnitude_vector, ...rest } = weights as Record<string, TensorTree>
  const merged = Object.fromEntries(Object.entries(rest).map(([key, child]) => [key, mergeAdapter(child)]))
  if (lora_A === undefined || lora_B === undefined || lora_scaling === undefined) return merged
  const [base, a, b, s] = [merged['weight'], lora_A, lora_B, lora_scaling] as [
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
  ]
  const weight = tf.tidy(() => {
    const delta = tf.matMul(b, a) // [L, out, in], or [out, in] outside the layers
    const sum = tf.add(base, tf.mul(delta, tf.reshape(s, [...s.shape, 1, 1])))
    if (lora_magnitude_vector === undefined) return sum
    return tf.mul(sum, tf.expandDims(tf.div(lora_magnitude_vector as tf.Tensor, rowLengths(sum)), -1))
  })
  return { ...merged, weight }
}

/** Writes weights with their adapter added in. */
export async function saveMerged(
  file: string,
  weights: TensorTree,
  { parameters, layers, others }: Pick<Base, 'parameters' | 'layers'> & Pick<CausalModel, 'others'>,
  from?: string,
): Promise<void> {
  const source = others && from !== undefined ? await openCheckpoint(from) : undefined
  const beside = source && { source, names: [...source.tensors.keys()].filter(name => others!.test(name)) }
  const merged = mergeAdapter(weights)
  await saveWeights(file, merged, parameters, { layers, beside }).finally(() => source?.close())
  const kept = new Set(tensorsOf(weights))
  disposeTree(tensorsOf(merged).filter(t => !kept.has(t)))
}

const PATTERN_MS = 1000 // some patterns take for ever

/** The weights of the linear layers that an adapter's target_modules names, with PEFT's rules of matching. */
function targetsOf(model: Base, { target_modules, use_dora }: LoraConfig, where = 'LoraConfig'): Parameter[] {
  if (use_dora && model.part)
    throw new Error(
      `${where}: use_dora is true, which adapters of language models can be, not of ${model.architecture}.`,
    )
  const isTable = (name: string) => /(embed_tokens|embed_positions|embedding|shared)\.weight$/.test(name)
  const linear = model.parameters.filter(({ name, shape }) => shape.length === 2 && !isTable(name))
  const module = (p: Parameter) => p.name.replace(/\.weight$/, '')
  const matches = (name: string): boolean => {
    if (target_modules === 'all-linear') return name !== 'lm_head'
    if (typeof target_modules === 'string') return new RegExp(`^(?:${target_modules})$`).test(name.replace('*', '0'))
    return target_modules.some(target => name === target || name.endsWith(`.${target}`))
  }
  const unmatched = Array.isArray(target_modules)
    ? (target_modules as string[]).filter(t => !linear.some(p => module(p) === t || module(p).endsWith(`.${t}`)))
    : []
  const found = withinTime(PATTERN_MS, `${where}: target_modules`, () => linear.filter(p => matches(module(p))))
  if (found.length === 0 || unmatched.length > 0)
    throw new Error(
      `${where}: target_modules ${JSON.stringify(unmatched.length > 0 ? unmatched : target_modules)} match no linear ` +
        `layer of ${model.architecture}. It has ${[...new Set(linear.map(p => lastName(module(p))))].join(', ')}.`,
    )
  return found
}

/** The end of a module's name that tells it from others: `q_proj`, `to_out.0`. */
const lastName = (module: string): string => /[a-z]\w*(\.\d+)?$/i.exec(module)?.[0] ?? module

function adapterParameters(model: Base, targets: readonly Parameter[], { r, use_dora }: LoraConfig): Parameter[] {
  return targets.flatMap(target => {
    const { path, name, shape } = target
    const [out, size] = shape as [number, number]
    const at = (text: string, matrix: string) => text.replace(/weight$/, matrix)
    const stored = `${model.part ?? 'base_model.model'}.${name}`
    const stack = { layers: layersOf(model, target), step: target.step }
    return [
      { path: at(path, 'lora_A'), name: at(stored, 'lora_A.weight'), shape: [r, size], ...stack },
      { path: at(path, 'lora_B'), name: at(stored, 'lora_B.weight'), shape: [out, r], ...stack },
      ...(use_dora ? [{ path: at(path, MAGNITUDE), name: at(stored, MAGNITUDE), shape: [out], ...stack }] : []),
    ]
  })
}

/** Weights of the model's own that are stored beside an adapter, under PEFT's names. */
const wholeParameters = (model: Base, parameters: readonly Parameter[]): Parameter[] =>
  parameters.map(p => ({ ...p, name: `base_model.model.${p.name}`, layers: layersOf(model, p) }))

/** The modules that a parameter belongs to, one a layer. */
function modulesOf(model: Base, parameter: Parameter): string[] {
  const layers = layersOf(model, parameter)
  const module = parameter.name.replace(/\.\w+$/, '')
  return layers === undefined
    ? [module]
    : Array.from({ length: layers }, (_, l) => module.replace('*', String(l * (parameter.step ?? 1))))
}

/** Modules that lie in none of the others, each once: PEFT refuses one within another. */
const outermost = (modules: readonly string[]): string[] => {
  const all = [...new Set(modules)]
  return all.filter(module => !all.some(other => module.startsWith(`${other}.`)))
}

/** Parameters of the modules that PEFT's modules_to_save names: by the ends of their names, with all that is in them.
 * @throws Error for modules of the language model, or of some layers of a stack */
function savedModules(model: Base, fields: Fields): Parameter[] {
  const given = (fields.get('modules_to_save') ?? []) as readonly string[]
  const within = (module: string, name: string) => `.${module}.`.includes(`.${name}.`)
  const found = model.parameters.filter(parameter => {
    const saved = modulesOf(model, parameter).map(module => given.some(name => within(module, name)))
    if (saved.some(Boolean) && (!saved.every(Boolean) || !visionPartOf(parameter.path)))
      fields.fail('modules_to_save', 'modules of the vision tower or what connects it, in all layers')
    return saved[0]
  })
  const unknown = given.filter(name => !found.some(p => modulesOf(model, p).some(module => within(module, name))))
  if (unknown.length > 0) fields.fail('modules_to_save', `modules of ${model.architecture}, not ${unknown.join(', ')}`)
  return found
}

/** How many weights an adapter of a model has. */
export function adapterSize(model: Base, given: Partial<LoraConfig>): number {
  const config = resolveConfig('LoraConfig', loraDefaults(model.architecture), given)
  const parameters = adapterParameters(model, targetsOf(model, config), config)
  return parameters.reduce((sum, { shape, layers = 1 }) => sum + layers * shape.reduce((n, d) => n * d), 0)
}

/** How many layers of a stack a parameter stands for; undefined outside the stacks. */
const layersOf = (model: Base, { name, layers }: Parameter): number | undefined =>
  name.includes('*') ? (layers ?? model.layers) : undefined

function scalingOf(model: Base, targets: readonly Parameter[], { r, lora_alpha, use_rslora }: LoraConfig): TensorTree {
  const scale = lora_alpha / (use_rslora ? Math.sqrt(r) : r)
  return treeOf(
    targets.map(target => {
      const layers = layersOf(model, target)
      return [target.path.replace(/weight$/, 'lora_scaling'), tf.fill(layers === undefined ? [] : [layers], scale)]
    }),
  )
}
