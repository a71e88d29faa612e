import * as tf from '@tensorflow/tfjs-core'
import { disposeTree, mapTensors, tensorsOf, withTensors, type TensorTree } from '../xla/tree.js'

/** Value, by-products and gradients of a scalar function of a tree of weights.
 * @param f returns the scalar to differentiate and a tree of tensors that come along (metrics)
 * @param tree its tensors are what the gradient is taken of
 * @returns `grads` has the structure of `tree`; zeros where a tensor does not reach the value */
export function valueAndGrad<W extends TensorTree, A>(
  f: (tree: W) => { value: tf.Tensor; aux: A },
  tree: W,
): { value: tf.Tensor; aux: A; grads: W } {
  const leaves = tensorsOf(tree)
  let kept: A
  const forward = () => {
    const { value, aux } = f(tree)
    kept = mapTensors(aux, t => tf.keep(tf.clone(t))) // the engine's scope around the forward pass would dispose them
    return tf.reshape(value, [])
  }
  return tf.tidy(() => {
    const { value, grads } = tf.engine().gradients(forward, leaves, undefined, true)
    const aux = mapTensors(kept, t => tf.clone(t))
    disposeTree(kept)
    // The engine's type does not say so, but a tensor without a path to the value has no gradient.
    const dense = (grads as (tf.Tensor | undefined)[]).map((g, i) => g ?? tf.zerosLike(leaves[i]!))
    return { value, aux, grads: withTensors(tree, dense) } as unknown as tf.TensorContainer
  }) as unknown as { value: tf.Tensor; aux: A; grads: W }
}
