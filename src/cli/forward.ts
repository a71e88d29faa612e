import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, writeSafetensors, type StoredTensor, type TensorSource } from '../io/safetensors.js'
import {
  FORWARD_CLASSES,
  loadAdapter,
  loadForwardModel,
  type ForwardInput,
  type ForwardModel,
} from '../models/index.js'
import { overlay } from '../policies/overlay.js'
import { disposeTree, jit, start, type TensorTree } from '../xla/index.js'
import { parse, type Command } from './command.js'

/** One forward pass of a model on stored inputs.
 * @param input safetensors with the model's inputs, by name
 * @param output safetensors to write: the model's outputs, F32
 * @param options.adapter directory of a LoRA adapter laid on top
 * @returns shapes of what was written */
export async function forward(
  modelDir: string,
  input: string,
  output: string,
  options: { adapter?: string } = {},
): Promise<Record<string, number[]>> {
  await start()
  const { model, weights } =
    options.adapter === undefined ? await loadForwardModel(modelDir) : await adapted(modelDir, options.adapter)
  const file = await openSafetensors(input)
  const inputs = await readInputs(file, model).finally(() => file.close())
  const pass = jit(
    (weights: TensorTree, inputs: Record<string, tf.Tensor>) => tf.tidy(() => model.forward(weights, inputs)),
    { name: 'forward' },
  )
  const prepared = model.prepare ? await model.prepare(inputs) : inputs
  const outputs = await pass.async(weights, prepared)
  const stored: Record<string, StoredTensor> = {}
  for (const [name, tensor] of Object.entries(outputs))
    stored[name] = { dtype: 'F32', shape: tensor.shape, data: await tensor.data() }
  await writeSafetensors(output, stored)
  disposeTree([weights, inputs, prepared, outputs])
  return Object.fromEntries(Object.entries(stored).map(([name, { shape }]) => [name, shape]))
}

export const forwardCommand: Command = {
  summary: 'one forward pass of a model on stored inputs',
  help: `Usage: rewardlab forward MODEL_DIR IN.safetensors OUT.safetensors [--adapter DIR]

Runs one forward pass in float32 and stores what comes out, to compare with another program.
  MODEL_DIR          directory, or id at the Hugging Face hub, of a model as transformers or diffusers saves it:
                     ${FORWARD_CLASSES}
  IN.safetensors     its inputs under the names of their forward; whole numbers I64 or I32, others F32, F16 or BF16.
                     A causal language model: input_ids, optionally attention_mask, position_ids. Those that see: pixel_values and
                     what transformers 5 takes beside them (image_grid_thw, pixel_values_videos, …); without mm_token_type_ids
                     (Qwen2.5-VL) or token_type_ids (Gemma 3) pictures change neither positions nor masks, as there
  OUT.safetensors    its outputs, F32. A causal language model: logits
  --adapter DIR      a LoRA adapter on top: PEFT's of a causal language model, diffusers' of a FLUX transformer
  --json             print the result as JSON`,
  async run(args, print) {
    const names = ['MODEL_DIR', 'IN.safetensors', 'OUT.safetensors']
    const { values, positionals } = parse(args, names, { adapter: { type: 'string' } })
    const [modelDir, input, output] = positionals as [string, string, string]
    const outputs = await forward(modelDir, input, output, values)
    const lines = Object.entries(outputs).map(([name, shape]) => `${name} [${shape.join(', ')}] → ${output}`)
    print(lines.join('\n'), { output, outputs })
  },
}

async function adapted(modelDir: string, adapterDir: string): Promise<{ model: ForwardModel; weights: TensorTree }> {
  const { model, weights } = await loadForwardModel(modelDir)
  const adapter = await loadAdapter(model, adapterDir)
  return { model, weights: overlay(overlay(weights, adapter.scaling), adapter.weights) }
}

/** Types in a file that serve as an input of a type. */
const STORED = { int32: ['I64', 'I32'], float32: ['F32', 'F16', 'BF16'] }

/** Reads and checks the inputs of a model. */
async function readInputs(file: TensorSource, model: ForwardModel): Promise<Record<string, tf.Tensor>> {
  const fail = (what: string): never => {
    throw new Error(`${file.path}: ${what}`)
  }
  const unknown = [...file.tensors.keys()].find(name => !(name in model.inputs))
  if (unknown !== undefined)
    fail(`unknown input "${unknown}". ${model.architecture} takes ${Object.keys(model.inputs).join(', ')}.`)
  const inputs: Record<string, tf.Tensor> = {}
  const sizes = new Map<string, number>() // of the names in shapes, as first met
  for (const [name, { type, optional, shape = [], below }] of Object.entries<ForwardInput>(model.inputs)) {
    const info = file.tensors.get(name)
    const types = STORED[type].join(' or ')
    const text = (sizes: readonly (number | string)[]) => `[${sizes.join(', ')}]`
    if (!info) {
      if (optional) continue
      return fail(`${name} is missing, needed ${shape.length ? `${text(shape)} ` : ''}${types}.`)
    }
    if (!STORED[type].includes(info.dtype)) fail(`${name} is ${info.dtype}, needed ${types}.`)
    const needed = shape.map(size => (typeof size === 'string' ? (sizes.get(size) ?? size) : size))
    const fits = needed.length === info.shape.length && needed.every((n, i) => typeof n === 'string' || n === info.shape[i]) // prettier-ignore
    if (info.shape.includes(0) || (shape.length > 0 && !fits)) fail(`${name} is ${text(info.shape)}, needed ${text(needed)}.`) // prettier-ignore
    shape.forEach((size, i) => typeof size === 'string' && sizes.set(size, info.shape[i]!))
    const data = await file.read(name)
    const outside = below === undefined ? -1 : data.findIndex(value => value < 0 || value >= below)
    if (outside >= 0) fail(`${name} holds ${data[outside]}, needed ids from 0 to ${below! - 1}.`)
    inputs[name] = tf.tensor(data, info.shape, type)
  }
  return inputs
}
