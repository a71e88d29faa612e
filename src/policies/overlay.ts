import * as tf from '@tensorflow/tfjs-core'
import type { TensorTree } from '../xla/index.js'

/** Two trees of named tensors as one: an adapter laid over the weights it belongs to. Where both have a tensor, the
 * upper one counts. */
export function overlay(lower: TensorTree, upper: TensorTree): TensorTree {
  if (!isBranch(lower) || !isBranch(upper)) return upper
  const merged: Record<string, TensorTree> = { ...lower }
  for (const [key, child] of Object.entries(upper)) {
    const below = lower[key]
    merged[key] = below === undefined ? child : overlay(below, child)
  }
  return merged
}

const isBranch = (tree: TensorTree): tree is { readonly [key: string]: TensorTree } =>
  !(tree instanceof tf.Tensor) && !Array.isArray(tree)
