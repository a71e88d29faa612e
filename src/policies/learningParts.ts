import type * as tf from '@tensorflow/tfjs-core'
import { treeOf } from '../io/checkpoint.js'
import { visionPartOf, type Adapter, type CausalModel, type VisionPart } from '../models/index.js'
import { copy, eachTensor, type TensorTree } from '../xla/index.js'
import { overlay } from './overlay.js'
import type { Weights } from './policy.js'

/** Which parts of a vision-language model learn; names are those of Qwen-VL's fine-tuning.
 * @source github.com/QwenLM/Qwen3-VL, qwen-vl-finetune/qwenvl/train/argument.py (there all false by default) */
export interface TunedParts {
  /** The language model: by the adapter, if there is one, else all its weights. Default true. */
  tune_mm_llm?: boolean
  /** All weights of the vision tower. Default false; an adapter may name layers of it instead. */
  tune_mm_vision?: boolean
  /** All weights of what connects the two, Qwen's merger. Default true; false beside an adapter or 4-bit weights. */
  tune_mm_mlp?: boolean
}

const FLAGS = { language_model: 'tune_mm_llm', vision_tower: 'tune_mm_vision', mm_projector: 'tune_mm_mlp' } as const

type Part = VisionPart | 'language_model'

/** Divides a model's weights into those that learn and those that do not. Beside an adapter, parts that learn are copies: what they were lies
 * with the frozen weights, which are the reference.
 * @throws Error for flags that contradict the model, the adapter, or weights in 4 bits */
export function learningParts(
  model: Pick<CausalModel, 'architecture' | 'vision'>,
  weights: TensorTree,
  flags: TunedParts,
  adapter?: Pick<Adapter, 'weights' | 'scaling'>,
): Weights {
  const partOf = (path: string): Part => visionPartOf(path) ?? 'language_model'
  const [base, learnt] = [leavesOf(weights), leavesOf(adapter?.weights ?? {})]
  const partsOf = (paths: Iterable<string>, kind: RegExp) => new Set([...paths].filter(p => kind.test(p)).map(partOf))
  const adapted = partsOf(learnt.keys(), /\.lora_\w+$/)
  const inFourBits = partsOf(base.keys(), /\.packed$/)
  const frozenByDefault = adapter !== undefined || inFourBits.size > 0

  const whole = (part: Part): boolean => {
    const given = flags[FLAGS[part]]
    const fail = (problem: string, mend: string) => {
      throw new Error(`loadPolicy: ${FLAGS[part]} is ${given}, ${problem}. ${mend}`)
    }
    const named = part.replace('mm_', '').replace('_', ' ')
    if (part === 'language_model' && given === false && !model.vision)
      fail(`but ${model.architecture} is a language model alone, of which nothing would learn`, 'Leave it out.')
    if (part !== 'language_model' && given && !model.vision)
      fail(`but ${model.architecture} sees no pictures`, 'Leave it out, or take a model that does.')
    if (given === false && [...learnt.keys()].some(path => partOf(path) === part))
      fail(`but the adapter has weights of the ${named}`, 'Leave one of them out.')
    if (adapted.has(part)) {
      if (given && part !== 'language_model')
        fail(`but the adapter lies on layers of the ${named}, whose weights it keeps`, 'Leave one of them out.')
      return false
    }
    if (adapter && given && part === 'language_model')
      fail('but target_modules of the adapter names no layer of it', 'Name some, or leave it out.')
    if (given && inFourBits.has(part))
      fail(`but its weights are kept in 4 bits`, 'Leave quantization out, or train an adapter.')
    return given ?? (part !== 'vision_tower' && !frozenByDefault)
  }
  const learns = { language_model: whole('language_model'), vision_tower: whole('vision_tower'), mm_projector: whole('mm_projector') } // prettier-ignore
  const own = [...base].filter(([path]) => learns[partOf(path)])
  if (adapter) {
    const copies = own.filter(([path]) => !learnt.has(path)).map(([path, t]): Leaf => [path, copy(t)])
    return { trainable: treeOf([...copies, ...learnt]), frozen: overlay(weights, adapter.scaling) }
  }
  if (own.length === 0 && Object.values(FLAGS).some(flag => flags[flag] !== undefined))
    throw new Error('loadPolicy: tune_mm_llm, tune_mm_vision and tune_mm_mlp leave nothing that learns. Set one to true.') // prettier-ignore
  return { trainable: treeOf(own), frozen: treeOf([...base].filter(([path]) => !learns[partOf(path)])) }
}

type Leaf = [path: string, tensor: tf.Tensor]

function leavesOf(tree: TensorTree): Map<string, tf.Tensor> {
  const leaves = new Map<string, tf.Tensor>()
  eachTensor(tree, (t, path) => leaves.set(path, t))
  return leaves
}
