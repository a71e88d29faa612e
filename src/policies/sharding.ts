import type * as tf from '@tensorflow/tfjs-core'
import type { CausalModel } from '../models/index.js'
import { repeatRows } from '../nn/index.js'
import { constrain, mapTensors, type Mesh, type Spec } from '../xla/index.js'

/* Where a model's weights and rows lie on a mesh. Its axis `data` divides the rows of a batch, `model` the matrices of each layer.
 * What does not divide evenly stays whole on every device, which costs memory or time and changes no value. */

/** How often devices along `data` keep weights and moments: `ddp` each all of them, `fsdp` each a share. */
export type WeightSharding = 'ddp' | 'fsdp'

/** Which mesh axes divide a weight.
 * @param path in the weight tree, e.g. `layers.self_attn.q_proj.weight`
 * @param shape of the weights of all layers, stacked */
export type WeightRule = (path: string, shape: readonly number[]) => Spec

export function weightRule(mesh: Mesh, sharding: WeightSharding): WeightRule {
  return sharding === 'fsdp' ? fullySharded(mesh, tensorParallel(mesh)) : tensorParallel(mesh)
}

/** Matrices divided over `model`, so that a layer needs one sum over devices after its attention and one after its MLP: what reads
 * the layer's input by rows of the matrix, what writes its output by columns; embeddings by tokens.
 * @source Megatron-LM, arXiv 1909.08053 */
export function tensorParallel(mesh: Mesh): WeightRule {
  const ways = mesh.axes['model'] ?? 1
  return (path, shape) => {
    const axis = dividedAxis(path)
    const at = axis === null ? -1 : shape.length + axis
    return shape.map((d, i) => (ways > 1 && i === at && d % ways === 0 ? 'model' : null))
  }
}

/** The axis that tensor parallelism divides, from the last. */
function dividedAxis(path: string): -1 | -2 | null {
  const [module = '', kind] = path
    .replace(/\.packed$/, '')
    .split('.')
    .slice(-2) // of 4-bit weights, the entries
  const matrix = kind === 'weight' || kind === 'lora_A' || kind === 'lora_B' // [out, in], [r, in], [out, r]
  if (/^([qkv]_proj|gate_proj|up_proj|fc1)$/.test(module))
    return kind === 'bias' || kind === 'lora_magnitude_vector' ? -1 : matrix && kind !== 'lora_A' ? -2 : null
  if (/^(o_proj|down_proj|out_proj|fc2)$/.test(module)) return matrix && kind !== 'lora_B' ? -1 : null
  return /^(embed_tokens|lm_head)$/.test(module) && matrix ? -2 : null
}

/** Matrices divided over `data` too, along their longest axis that is whole: each device keeps a share of the weights and of all that has
 * their shape, gathers a layer when it computes with it, and gets the sum of its share's gradients.
 * @param within what divides them besides
 * @source ZeRO, arXiv 1910.02054, stage 3 */
export function fullySharded(mesh: Mesh, within: WeightRule): WeightRule {
  const ways = mesh.axes['data'] ?? 1
  return (path, shape) => {
    const spec = [...within(path, shape)]
    const stacked = /(^|\.)(layers|blocks)\./.test(path) ? 1 : 0
    if (ways === 1 || shape.length - stacked < 2) return spec // vectors: not worth a message
    const axes = shape.map((_, i) => i).filter(i => i >= stacked && spec[i] === null && shape[i]! % ways === 0)
    const [longest] = axes.sort((a, b) => shape[b]! - shape[a]!)
    return spec.map((axis, i) => (i === longest ? 'data' : axis))
  }
}

/** The model, with the rows of its inputs divided over `data`; all that it computes follows them. */
export function withRowsDivided(model: CausalModel, mesh: Mesh): CausalModel {
  const ways = mesh.axes['data'] ?? 1
  if (ways === 1) return model
  const rows = (x: tf.Tensor) => (x.shape[0] % ways === 0 ? constrain(x, mesh, ['data']) : x)
  const { vision } = model
  return {
    ...model,
    ...(vision && { vision: { ...vision, see: (weights, patches) => vision.see(weights, mapTensors(patches, rows)) } }),
    hidden: (weights, input) => model.hidden(weights, mapTensors(input, rows)),
    // Prompts are read more than once, where that divides them.
    continued(weights, prompts, branches) {
      const [N, B] = [prompts.input_ids.shape[0], branches.input_ids.shape[0]]
      const copies = divisorsOf(B / N).find(times => (N * times) % ways === 0) ?? 1
      const copied = mapTensors(prompts, x => rows(repeatRows(x, copies)))
      return model.continued(weights, copied, mapTensors(branches, rows))
    },
    prefill: (weights, input) => model.prefill(weights, mapTensors(input, rows)),
    decode: (weights, layers, step) =>
      model.decode(weights, layers, { ...step, input_ids: rows(step.input_ids), visible: rows(step.visible) }),
  }
}

/** Ascending. */
const divisorsOf = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1).filter(d => n % d === 0)
