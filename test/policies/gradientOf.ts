import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { loadWeights } from '../../src/io/checkpoint.js'
import { openSafetensors } from '../../src/io/safetensors.js'
import { valueAndGrad } from '../../src/optimizers/valueAndGrad.js'
import type { LanguagePolicy, VisionPrompt } from '../../src/policies/index.js'
import { disposeTree, eachTensor, jit, type TensorTree } from '../../src/xla/index.js'

const AGREE = 1e-4 // float32 against PyTorch's, or one order of sums against another, relative to the largest of a leaf
const NONE = 1e-7 // what sums leave of a gradient of zero: that of biases of keys, since softmax does not see what all keys share

/** Leaves by their paths. */
export async function values(tree: TensorTree): Promise<Map<string, Float32Array>> {
  const leaves: [string, tf.Tensor][] = []
  eachTensor(tree, (t, path) => leaves.push([path, t]))
  return new Map(await Promise.all(leaves.map(async ([path, t]) => [path, (await t.data()) as Float32Array] as const)))
}

/** Checks that two trees have the same leaves with the same values. */
export function agree(found: Map<string, Float32Array>, wanted: Map<string, Float32Array>): void {
  assert.deepEqual([...found.keys()].sort(), [...wanted.keys()].sort())
  for (const [path, is] of wanted) {
    const most = (x: Float32Array) => x.reduce((m, value) => Math.max(m, Math.abs(value)), 0)
    const apart = most(is.map((x, i) => x - found.get(path)![i]!))
    assert.ok(apart < Math.max(AGREE * most(is), NONE), `${path}: ${apart} apart, of ${most(is)}`)
  }
}

/** Gradient of the negative mean log-probability of completions with regard to what learns. */
function gradient(policy: LanguagePolicy, rows: TensorTree): { logProb: number; grads: TensorTree } {
  const program = jit((trainable: TensorTree, frozen: TensorTree, rows: TensorTree, key: tf.Tensor) => {
    const { value, grads } = valueAndGrad(trainable => {
      const { score, length } = policy.score({ trainable, frozen }, rows, key)
      return { value: tf.neg(tf.div(tf.sum(score), tf.sum(length))), aux: {} }
    }, trainable)
    return { value, grads }
  })
  const key = tf.zeros([2], 'int32')
  const { value, grads } = program(policy.weights.trainable, policy.weights.frozen, rows, key)
  const logProb = -value.dataSync()[0]!
  disposeTree([key, value])
  return { logProb, grads }
}

/** Checks the gradients of a policy, all of whose weights learn, against a file of transformers' with `log_probs` beside them.
 * @param drawn the completions [B, T], one a prompt */
export async function gradientsAgree(
  policy: LanguagePolicy,
  prompts: readonly VisionPrompt[],
  drawn: ArrayLike<number>,
  file: string,
): Promise<void> {
  const B = prompts.length
  const { completion_ids, completion_mask, ...rest } = policy.encode(prompts, Array<string>(B).fill(''))
  const given = tf.tensor2d(Int32Array.from(drawn), [B, drawn.length / B], 'int32')
  const rows = { ...rest, completion_ids: given, completion_mask: tf.onesLike(given) }
  const { logProb, grads } = gradient(policy, rows)
  const source = await openSafetensors(file)
  const { parameters, layers } = policy.model
  const wanted = await loadWeights(source, parameters, { layers, ignore: /log_probs/ })
  agree(await values(grads), await values(wanted))
  const logProbs = (await source.read('log_probs')) as Float32Array
  const mean = logProbs.reduce((sum, x) => sum + x, 0) / logProbs.length
  assert.ok(Math.abs(logProb - mean) < AGREE, `${logProb}, ${mean}`)
  disposeTree([rows, completion_ids, completion_mask, grads, wanted])
  await source.close()
}
