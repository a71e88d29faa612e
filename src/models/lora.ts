import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { loadWeights, openCheckpoint, saveWeights, treeOf, type Parameter } from '../io/checkpoint.js'
import { Fields, readJson } from '../io/json.js'
import { resolveConfig } from '../config.js'
import { disposeTree, isNf4, random, type TensorTree } from '../xla/index.js'
import type { CausalModel } from './causalModel.js'
import { drawEach } from './drawEach.js'

/** A LoRA adapter, under PEFT's names. */
export interface LoraConfig {
  /** Rank. Default 8 (PEFT). */
  r: number
  /** The adapter's output is scaled by lora_alpha / r. Default 8 (PEFT). */
  lora_alpha: number
  /** Names of linear layers (`q_proj`), `all-linear`, or one regular expression for whole names. Default q_proj and
   * v_proj (PEFT, for Qwen2). */
  target_modules: string | readonly string[]
  /** Scale by lora_alpha / √r instead. Default false (PEFT); rsLoRA, arXiv 2312.03732. */
  use_rslora: boolean
}

const DEFAULTS: LoraConfig = { r: 8, lora_alpha: 8, target_modules: ['q_proj', 'v_proj'], use_rslora: false }

/** An adapter of a model: `weights` (lora_A, lora_B) are trained, `scaling` (lora_scaling) lies beside the frozen weights. */
export interface Adapter {
  config: LoraConfig
  weights: TensorTree
  scaling: TensorTree
}

/** A fresh adapter as PEFT draws it: A uniform in ±1/√in, B zero, so that it changes nothing yet.
 * @param seed of A
 * @throws Error for unknown fields, a rank below 1, or names that match no layer */
export function initAdapter(model: CausalModel, given: Partial<LoraConfig>, seed: number): Adapter {
  const config = resolveConfig('LoraConfig', DEFAULTS, given)
  if (!Number.isInteger(config.r) || config.r < 1)
    throw new Error(`LoraConfig: r is ${config.r}, needed an integer ≥ 1.`)
  const targets = targetsOf(model, config)
  const parameters = adapterParameters(targets, config.r)
  const shapes = parameters.map(({ name, shape }) => (name.includes('*') ? [model.layers, ...shape] : shape))
  const uniform = drawEach(shapes, size => random.uniform(random.key(seed), [size]))
  const leaves = parameters.map(({ path, shape }, i): [string, tf.Tensor] => {
    const bound = path.endsWith('lora_A') ? shape[1]! ** -0.5 : 0
    return [path, tf.tidy(() => tf.mul(tf.sub(uniform[i]!, 0.5), 2 * bound))]
  })
  disposeTree(uniform)
  return { config, weights: treeOf(leaves), scaling: scalingOf(model, targets, config) }
}

/** Reads an adapter in PEFT's layout: adapter_config.json and adapter_model.safetensors.
 * @throws Error naming fields that ask for what is not supported, or all tensors that do not fit the model */
export async function loadAdapter(model: CausalModel, dir: string): Promise<Adapter> {
  const path = join(dir, 'adapter_config.json')
  const fields = new Fields(await readJson(path), path)
  fields.only('peft_type', 'LORA')
  for (const flag of ['use_dora', 'use_qalora', 'fan_in_fan_out', 'lora_bias']) fields.only(flag, false)
  for (const unset of [
    'modules_to_save',
    'layers_to_transform',
    'layer_replication',
    'target_parameters',
    'exclude_modules',
  ])
    fields.only(unset)
  for (const map of ['rank_pattern', 'alpha_pattern'])
    if (Object.keys(fields.get(map) ?? {}).length > 0) fields.fail(map, 'no pattern')
  fields.only('bias', 'none')
  const config: LoraConfig = {
    r: fields.count('r'),
    lora_alpha: fields.number('lora_alpha'),
    target_modules: fields.get('target_modules') as LoraConfig['target_modules'],
    use_rslora: fields.flag('use_rslora', false),
  }
  const targets = targetsOf(model, config, path)
  const source = await openCheckpoint(dir, 'adapter_model')
  try {
    const weights = await loadWeights(source, adapterParameters(targets, config.r), { layers: model.layers })
    return { config, weights, scaling: scalingOf(model, targets, config) }
  } finally {
    await source.close()
  }
}

/** Writes an adapter in PEFT's layout.
 * @param base what PEFT shall load the adapter on: a directory or hub id */
export async function saveAdapter(
  model: CausalModel,
  config: LoraConfig,
  weights: TensorTree,
  dir: string,
  base: string,
): Promise<void> {
  await mkdir(dir, { recursive: true })
  const json = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: base,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    lora_dropout: 0,
    ...config,
  }
  await writeFile(join(dir, 'adapter_config.json'), `${JSON.stringify(json, null, 2)}\n`)
  const parameters = adapterParameters(targetsOf(model, config), config.r)
  await saveWeights(join(dir, 'adapter_model.safetensors'), weights, parameters, model)
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
  const { lora_A, lora_B, lora_scaling, ...rest } = weights as Record<string, TensorTree>
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
    return tf.add(base, tf.mul(delta, tf.reshape(s, [...s.shape, 1, 1])))
  })
  return { ...merged, weight }
}

/** The weights of the linear layers that an adapter's target_modules names, with PEFT's rules of matching. */
function targetsOf(model: CausalModel, { target_modules }: LoraConfig, where = 'LoraConfig'): Parameter[] {
  const linear = model.parameters.filter(({ name, shape }) => shape.length === 2 && !name.includes('embed'))
  const module = (p: Parameter) => p.name.replace(/\.weight$/, '')
  const matches = (name: string): boolean => {
    if (target_modules === 'all-linear') return name !== 'lm_head'
    if (typeof target_modules === 'string') return new RegExp(`^(?:${target_modules})$`).test(name.replace('*', '0'))
    return target_modules.some(target => name === target || name.endsWith(`.${target}`))
  }
  const unmatched = Array.isArray(target_modules)
    ? (target_modules as string[]).filter(t => !linear.some(p => module(p) === t || module(p).endsWith(`.${t}`)))
    : []
  const found = linear.filter(p => matches(module(p)))
  if (found.length === 0 || unmatched.length > 0)
    throw new Error(
      `${where}: target_modules ${JSON.stringify(unmatched.length > 0 ? unmatched : target_modules)} match no linear ` +
        `layer of ${model.architecture}. It has ${linear.map(p => module(p).split('.').at(-1)).join(', ')}.`,
    )
  return found
}

function adapterParameters(targets: readonly Parameter[], r: number): Parameter[] {
  return targets.flatMap(({ path, name, shape: [out, size] }) => {
    const at = (text: string, matrix: string) => text.replace(/weight$/, matrix)
    const peft = `base_model.model.${name}`
    return [
      { path: at(path, 'lora_A'), name: at(peft, 'lora_A.weight'), shape: [r, size!] },
      { path: at(path, 'lora_B'), name: at(peft, 'lora_B.weight'), shape: [out!, r] },
    ]
  })
}

function scalingOf(
  model: CausalModel,
  targets: readonly Parameter[],
  { r, lora_alpha, use_rslora }: LoraConfig,
): TensorTree {
  const scale = lora_alpha / (use_rslora ? Math.sqrt(r) : r)
  return treeOf(
    targets.map(({ path, name }) => [
      path.replace(/weight$/, 'lora_scaling'),
      tf.fill(name.includes('*') ? [model.layers] : [], scale),
    ]),
  )
}
