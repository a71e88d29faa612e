import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, writeSafetensors, type TensorSource } from '../io/safetensors.js'
import { loadAdapter, loadCausalModel, type CausalModel, type TokenInput } from '../models/index.js'
import { overlay } from '../policies/overlay.js'
import { disposeTree, jit, start, type TensorTree } from '../xla/index.js'
import { parse, type Command } from './command.js'

/** One forward pass of a causal language model on stored inputs.
 * @param input safetensors with `input_ids` [B, T] and, optionally, `attention_mask` and `position_ids`, I64 or I32
 * @param output safetensors to write: `logits` [B, T, V] F32
 * @param options.adapter directory of a PEFT adapter laid on top
 * @returns shapes of what was written */
export async function forward(
  modelDir: string,
  input: string,
  output: string,
  options: { adapter?: string } = {},
): Promise<Record<string, number[]>> {
  await start()
  const { model, weights } = await loadCausalModel(modelDir)
  const adapter = options.adapter === undefined ? undefined : await loadAdapter(model, options.adapter)
  const whole = adapter ? overlay(overlay(weights, adapter.scaling), adapter.weights) : weights
  const file = await openSafetensors(input)
  const tokens = await readTokens(file, model).finally(() => file.close())
  const pass = jit(
    (weights: TensorTree, tokens: TokenInput & TensorTree) =>
      tf.tidy(() => model.head(weights, model.hidden(weights, tokens))),
    { name: 'forward' },
  )
  const logits = await pass.async(whole, tokens)
  const data = (await logits.data()) as Float32Array
  await writeSafetensors(output, { logits: { dtype: 'F32', shape: logits.shape, data } })
  const shapes = { logits: logits.shape }
  disposeTree([whole, tokens, logits])
  return shapes
}

export const forwardCommand: Command = {
  summary: 'one forward pass of a model on stored inputs',
  help: `Usage: rewardlab forward MODEL_DIR IN.safetensors OUT.safetensors [--adapter DIR]

Runs one forward pass in float32 and stores what comes out, to compare with another program.
  MODEL_DIR          Hugging Face directory of a causal language model (Qwen2)
  IN.safetensors     input_ids, optionally attention_mask, position_ids; I64 or I32
  OUT.safetensors    logits, F32
  --adapter DIR      a PEFT LoRA adapter on top
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

const INPUTS = ['input_ids', 'attention_mask', 'position_ids']

/** Reads and checks the inputs; without a mask, every token counts. */
async function readTokens(file: TensorSource, model: CausalModel): Promise<TokenInput & TensorTree> {
  const fail = (what: string): never => {
    throw new Error(`${file.path}: ${what}`)
  }
  const unknown = [...file.tensors.keys()].find(name => !INPUTS.includes(name))
  if (unknown !== undefined) fail(`unknown input "${unknown}". ${model.architecture} takes ${INPUTS.join(', ')}.`)
  const shape = file.tensors.get('input_ids')?.shape ?? fail('input_ids is missing, needed [rows, tokens] I64 or I32.')
  if (shape.length !== 2 || shape.includes(0)) fail(`input_ids is [${shape.join(', ')}], needed [rows, tokens].`)
  const read = async (name: string): Promise<tf.Tensor> => {
    const info = file.tensors.get(name)!
    if (info.dtype !== 'I64' && info.dtype !== 'I32') fail(`${name} is ${info.dtype}, needed I64 or I32.`)
    if (info.shape.join() !== shape.join())
      fail(`${name} is [${info.shape.join(', ')}], needed [${shape.join(', ')}] as input_ids.`)
    const data = await file.read(name)
    const outside = name === 'input_ids' && data.findIndex(id => id < 0 || id >= model.vocabulary)
    if (outside !== false && outside >= 0)
      fail(`input_ids holds ${data[outside]}, needed ids from 0 to ${model.vocabulary - 1}.`)
    return tf.tensor(data, shape, 'int32')
  }
  const has = (name: string) => file.tensors.has(name)
  return {
    input_ids: await read('input_ids'),
    attention_mask: has('attention_mask') ? await read('attention_mask') : tf.ones(shape, 'int32'),
    ...(has('position_ids') ? { position_ids: await read('position_ids') } : {}),
  }
}
