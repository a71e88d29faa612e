import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { jit } from '../../src/xla/index.js'

const CLOSE = 1e-5 // float32 rounding over a handful of operations
const SLOPE = 2e-2 // relative; finite differences in float32

export const values = async (t: tf.Tensor): Promise<number[]> => Array.from(await t.data())
export const close = (found: number[], expected: number[], tolerance = CLOSE) => {
  assert.equal(found.length, expected.length)
  found.forEach((x, i) => assert.ok(Math.abs(x - expected[i]!) < tolerance, `${i}: ${x}, needed ${expected[i]}`))
}
export const noise = (seed: number, shape: number[]) => {
  const size = shape.reduce((n, d) => n * d, 1)
  return tf.tensor(
    Array.from({ length: size }, (_, i) => 1.5 * Math.sin(12.9898 * seed + 78.233 * i)),
    shape,
  )
}

/** Asserts that the gradient of Σ f(x)·weights agrees with central differences along a random direction. */
export async function checkGradient(f: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor): Promise<void> {
  const h = 1e-2
  const both = jit((x: tf.Tensor) => {
    const y = f(x)
    const weights = noise(91, y.shape)
    const direction = noise(92, x.shape)
    const total = (x: tf.Tensor) => tf.sum<tf.Scalar>(tf.mul(f(x), weights))
    const along = (by: number) => total(tf.add(x, tf.mul(direction, by)))
    const slope = tf.sum<tf.Scalar>(tf.mul(tf.grad(total)(x), direction))
    return tf.stack([slope, tf.div(tf.sub(along(h), along(-h)), 2 * h)])
  })
  const [slope, difference] = (await values(await both.async(x))) as [number, number]
  assert.ok(
    Math.abs(slope - difference) < SLOPE * Math.max(1, Math.abs(slope)),
    `${slope}, by differences ${difference}`,
  )
}
