import { join } from 'node:path'
import { loadWeights, openCheckpoint, type Parameter, type WeightType } from '../io/checkpoint.js'
import { readFields, type Fields } from '../io/json.js'
import type { TensorTree } from '../xla/index.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { qwen2, qwen2Config } from './qwen2.js'

/** Reads a Hugging Face directory of a causal language model: config.json says which, safetensors hold the weights.
 * @param options.quantization the layers' matrices are quantised while they are read
 * @throws Error naming the file and field, or all tensors, that do not fit; for quantization on a stock backend */
export async function loadCausalModel(
  dir: string,
  options: ModelOptions & { dtype?: WeightType; quantization?: 'nf4' | null } = {},
): Promise<{ model: CausalModel; weights: TensorTree }> {
  const model = causalModel(await readFields(join(dir, 'config.json')), options)
  const source = await openCheckpoint(dir)
  try {
    const { layers, ignored, parameters } = model
    const quantized = options.quantization ? layerMatrix : () => false
    const weights = await loadWeights(source, parameters, { layers, ignore: ignored, dtype: options.dtype, quantized })
    return { model, weights }
  } finally {
    await source.close()
  }
}

/** What bitsandbytes quantises: linear layers, and not the head. */
export const layerMatrix = ({ name, shape }: Parameter) => name.includes('*') && shape.length === 2

function causalModel(fields: Fields, options: ModelOptions): CausalModel {
  switch (fields.get('model_type')) {
    case 'qwen2':
      return qwen2(qwen2Config(fields), options)
    default:
      return fields.fail('model_type', '"qwen2"')
  }
}
