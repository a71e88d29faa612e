import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { loadWeights, openCheckpoint, renamed, treeOf, type Parameter, type WeightType } from '../io/checkpoint.js'
import { modelDirectory } from '../io/hub.js'
import { readFields, type Fields } from '../io/json.js'
import {
  astype,
  disposeTree,
  quantizeNf4,
  storesHalf,
  typeOf,
  type ElementType,
  type TensorTree,
} from '../xla/index.js'
import { blip2, blip2Config } from './blip2.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { gemma3, gemma3Config } from './gemma3.js'
import { gemma3Vl, gemma3VlConfig } from './gemma3Vl.js'
import { llama, llamaConfig, mistral, mistralConfig } from './llama.js'
import { llava, llavaConfig } from './llava.js'
import { llavaOnevision, llavaOnevisionConfig } from './llavaOnevision.js'
import { opt, optConfig } from './opt.js'
import { qwen2, qwen2Config } from './qwen2.js'
import { qwen25Vl, qwen25VlConfig } from './qwen25vl.js'
import { qwen3, qwen3Config } from './qwen3.js'

/** Reads a causal language model in Hugging Face's layout: config.json says which, safetensors hold the weights.
 * @param name a directory, or an id of the Hugging Face hub
 * @param options.quantization the layers' matrices are quantised while they are read
 * @param options.zeros read no weights: zeros of their shapes and types stand for them, which nothing computes unless they are read
 * @throws Error naming the file and field, or all tensors, that do not fit; for quantization on a stock backend */
export async function loadCausalModel(
  name: string,
  options: ModelOptions & { dtype?: WeightType; quantization?: 'nf4' | null; zeros?: boolean } = {},
): Promise<{ model: CausalModel; weights: TensorTree }> {
  const dir = await modelDirectory(name)
  const model = causalModel(await readFields(join(dir, 'config.json')), options)
  if (options.zeros) return { model, weights: zeroWeights(model, options) }
  const source = await openCheckpoint(dir)
  try {
    const { layers, ignored, parameters } = model
    const quantized = options.quantization ? layerMatrix : () => false
    const named = model.nameOf ? renamed(source, model.nameOf) : source
    const weights = await loadWeights(named, parameters, { layers, ignore: ignored, dtype: options.dtype, quantized })
    return { model, weights }
  } finally {
    await source.close()
  }
}

/** Zeros in the shapes and types of a model's weights. */
function zeroWeights(
  { parameters, layers }: CausalModel,
  { dtype, quantization }: { dtype?: WeightType; quantization?: 'nf4' | null },
): TensorTree {
  const zeros = (shape: number[], type: ElementType) => tf.tidy(() => astype(tf.fill(shape, 0), type))
  const type = dtype === 'bfloat16' && storesHalf() ? 'bf16' : 'f32'
  const leaves = parameters.flatMap((parameter): [string, tf.Tensor][] => {
    const { path, name, shape } = parameter
    const whole = (shape: number[]) => (name.includes('*') ? [parameter.layers ?? layers, ...shape] : shape)
    if (!quantization || !layerMatrix(parameter)) return [[path, zeros(whole(shape), type)]]
    const one = tf.tidy(() => quantizeNf4(tf.fill(shape, 0)))
    const stacked = Object.entries(one).map(([key, t]): [string, tf.Tensor] => [`${path}.${key}`, zeros(whole(t.shape), typeOf(t))]) // prettier-ignore
    disposeTree(one)
    return stacked
  })
  return treeOf(leaves)
}

/** What bitsandbytes quantises: linear layers, and not the head, nor the Q-Former, which transformers keeps in float32. */
export const layerMatrix = ({ name, shape }: Parameter) =>
  name.includes('*') && shape.length === 2 && !name.startsWith('qformer.')

/** A model by its config.json, without weights.
 * @throws Error naming file and field */
export function causalModel(fields: Fields, options: ModelOptions = {}): CausalModel {
  switch (fields.get('model_type')) {
    case 'blip-2':
      return blip2(blip2Config(fields), options)
    case 'gemma3':
      return gemma3Vl(gemma3VlConfig(fields), options)
    case 'gemma3_text':
      return gemma3(gemma3Config(fields), options)
    case 'llama':
      return llama(llamaConfig(fields), options)
    case 'llava':
      return llava(llavaConfig(fields), options)
    case 'llava_onevision':
      return llavaOnevision(llavaOnevisionConfig(fields), options)
    case 'mistral':
      return mistral(mistralConfig(fields), options)
    case 'opt':
      return opt(optConfig(fields), options)
    case 'qwen2':
      return qwen2(qwen2Config(fields), options)
    case 'qwen2_5_vl':
      return qwen25Vl(qwen25VlConfig(fields), options)
    case 'qwen3':
      return qwen3(qwen3Config(fields), options)
    default:
      return fields.fail('model_type', MODEL_TYPES)
  }
}

const MODEL_TYPES =
  '"blip-2", "gemma3", "gemma3_text", "llama", "llava", "llava_onevision", "mistral", "opt", "qwen2", "qwen2_5_vl" or "qwen3"'

/** Classes that {@link loadCausalModel} reads. */
export const CAUSAL_CLASSES = [
  'Blip2ForConditionalGeneration',
  'Gemma3ForCausalLM',
  'Gemma3ForConditionalGeneration',
  'LlamaForCausalLM',
  'LlavaForConditionalGeneration',
  'LlavaOnevisionForConditionalGeneration',
  'MistralForCausalLM',
  'OPTForCausalLM',
  'Qwen2ForCausalLM',
  'Qwen2_5_VLForConditionalGeneration',
  'Qwen3ForCausalLM',
]
