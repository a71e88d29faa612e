import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import type { TensorSource } from '../../src/io/safetensors.js'
import { loadForwardModel } from '../../src/models/forwardModel.js'
import { disposeTree, jit, type TensorTree } from '../../src/xla/index.js'

/** Runs the model of a directory of fixtures on stored inputs and compares what comes out with stored outputs.
 * @param inputs names of the model's inputs, and of their values in the file
 * @param outputs the same for outputs; the model must give these and no others
 * @param tolerance largest distance from a stored value, relative to the tensor's largest */
export async function forwardParity(
  dir: string,
  expected: TensorSource,
  inputs: Record<string, string>,
  outputs: Record<string, string>,
  tolerance: number,
): Promise<void> {
  const { model, weights } = await loadForwardModel(dir)
  const given: Record<string, tf.Tensor> = {}
  for (const [name, stored] of Object.entries(inputs))
    given[name] = tf.tensor(await expected.read(stored), expected.tensors.get(stored)!.shape, model.inputs[name]!.type)
  const pass = jit((weights: TensorTree, given: TensorTree) =>
    tf.tidy(() => model.forward(weights, given as Record<string, tf.Tensor>)),
  )
  const prepared = model.prepare ? await model.prepare(given) : given
  const found = await pass.async(weights, prepared)
  assert.deepEqual(Object.keys(found).sort(), Object.keys(outputs).sort())
  for (const [name, stored] of Object.entries(outputs)) {
    const reference = (await expected.read(stored)) as Float32Array
    const values = await found[name]!.data()
    assert.deepEqual(found[name]!.shape, expected.tensors.get(stored)!.shape, name)
    const largest = reference.reduce((m, r) => Math.max(m, Math.abs(r)), 0)
    const apart = reference.reduce((worst, r, i) => Math.max(worst, Math.abs(r - values[i]!)), 0)
    assert.ok(apart < tolerance * largest, `${name}: ${apart} apart, the largest value is ${largest}`)
  }
  disposeTree([weights, given, prepared, found])
}
