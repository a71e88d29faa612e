import { join } from 'node:path'
import type * as tf from '@tensorflow/tfjs-core'
import { loadWeights, openCheckpoint, withoutPrefix, type Parameter, type WeightType } from '../io/checkpoint.js'
import { modelDirectory } from '../io/hub.js'
import { readFields, type Fields } from '../io/json.js'
import type { TensorTree } from '../xla/index.js'
import { autoencoderKl, autoencoderKlConfig } from './autoencoderKl.js'
import { causalForward } from './causalForward.js'
import { clipText, clipTextConfig, clipVision, clipVisionConfig } from './clip.js'
import { clipModel, clipModelConfig } from './clipModel.js'
import { fluxTransformer, fluxTransformerConfig } from './fluxTransformer.js'
import { CAUSAL_CLASSES, layerMatrix, loadCausalModel } from './loadCausalModel.js'
import { qualityNet, qualityNetConfig } from './qualityNet.js'
import { t5Config, t5Encoder } from './t5Encoder.js'
import { visionForward } from './visionForward.js'

/** A model that maps named tensors to named tensors, under the names that Hugging Face's forward has. */
export interface ForwardModel {
  /** Its class: `_class_name` of diffusers, `architectures[0]` of transformers. */
  readonly architecture: string
  /** Leaves of the weight tree and their names in a checkpoint. */
  readonly parameters: readonly Parameter[]
  /** What `*` in names counts up to, of parameters that do not say it themselves. */
  readonly layers?: number
  /** Its name in a pipeline: adapters are stored as diffusers does it, under this name. */
  readonly part?: string
  /** What the files of its weights are called. Default `model`, transformers' name. */
  readonly stem?: string
  /** What a checkpoint may put before any of these names. */
  readonly prefix?: string
  /** Names that a checkpoint may hold besides. */
  readonly ignored?: RegExp
  readonly inputs: Readonly<Record<string, ForwardInput>>
  /** What `forward` takes, made of `inputs` on the host, where values that say the shapes of others can be read. Default: the inputs. */
  prepare?(inputs: Record<string, tf.Tensor>): Promise<Record<string, tf.Tensor>>
  /** Pure and differentiable in the weights; may be called inside `jit`. */
  forward(weights: TensorTree, inputs: Record<string, tf.Tensor>): Record<string, tf.Tensor>
}

/** What an input must be, so that what is read from a file can be checked before it reaches the model. */
export interface ForwardInput {
  type: 'int32' | 'float32'
  optional?: true
  /** Sizes; a name stands for a size that is the same wherever it appears. */
  shape?: readonly (number | string)[]
  /** Values are at least 0 and less than this: indices of a table. */
  below?: number
}

/** A model and its weights. */
export interface Loaded<M extends ForwardModel = ForwardModel> {
  model: M
  weights: TensorTree
}

export interface LoadOptions {
  dtype?: WeightType
  /** The layers' matrices are quantised while they are read. */
  quantization?: 'nf4' | null
}

/** Reads a model in Hugging Face's layout: config.json says which, safetensors hold the weights.
 * @param name a directory, or an id of the Hugging Face hub
 * @throws Error naming the file and field, or all tensors, that do not fit */
export async function loadForwardModel(name: string, options: LoadOptions = {}): Promise<Loaded> {
  const dir = await modelDirectory(name)
  const fields = await readFields(join(dir, 'config.json'))
  const model = forwardModel(fields)
  if (model) return { model, weights: await loadForwardWeights(dir, model, options) }
  const causal = await loadCausalModel(dir, options)
  const { vision } = causal.model
  return { model: vision ? visionForward(causal.model, vision) : causalForward(causal.model), weights: causal.weights }
}

/** The weights of a model from the safetensors of its directory. */
export async function loadForwardWeights(
  dir: string,
  { parameters, layers, prefix, ignored, stem = 'model' }: ForwardModel,
  { dtype, quantization }: LoadOptions,
): Promise<TensorTree> {
  const source = await openCheckpoint(dir, stem)
  try {
    const named = prefix === undefined ? source : withoutPrefix(source, prefix)
    const quantized = quantization ? layerMatrix : () => false
    return await loadWeights(named, parameters, { layers, ignore: ignored, dtype, quantized })
  } finally {
    await source.close()
  }
}

/** Classes that {@link loadForwardModel} reads. */
export const FORWARD_CLASSES =
  `${CAUSAL_CLASSES.join(', ')}, AutoencoderKL, CLIPModel, CLIPTextModel(WithProjection), ` +
  'CLIPVisionModel(WithProjection), FluxTransformer2DModel, QualityNet, T5EncoderModel'

/** The model that a config.json is of; null for a causal language model. */
export function forwardModel(fields: Fields): ForwardModel | null {
  const [field, name] =
    fields.get('_class_name') === undefined
      ? ['architectures', (fields.get('architectures') as unknown[] | undefined)?.[0]]
      : ['_class_name', fields.get('_class_name')]
  if (name === undefined || CAUSAL_CLASSES.includes(name as string)) return null
  switch (name) {
    case 'AutoencoderKL':
      return autoencoderKl(autoencoderKlConfig(fields))
    case 'CLIPModel':
      return clipModel(clipModelConfig(fields))
    case 'CLIPTextModel':
    case 'CLIPTextModelWithProjection':
      return clipText(clipTextConfig(fields))
    case 'CLIPVisionModel':
    case 'CLIPVisionModelWithProjection':
      return clipVision(clipVisionConfig(fields))
    case 'FluxTransformer2DModel':
      return fluxTransformer(fluxTransformerConfig(fields))
    case 'QualityNet':
      return qualityNet(qualityNetConfig(fields))
    case 'T5EncoderModel':
      return t5Encoder(t5Config(fields))
    default:
      return fields.fail(field, `one of ${FORWARD_CLASSES}`)
  }
}
