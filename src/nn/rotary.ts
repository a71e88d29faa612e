import * as tf from '@tensorflow/tfjs-core'
import { astype, typeOf } from '../xla/index.js'
import { ropeFrequencies, type RopeScaling } from './ropeScaling.js'

/** Cosines and sines of the rotary embedding, shared by all heads. */
export interface Rotary {
  cos: tf.Tensor // [B, T, 1, D/2]
  sin: tf.Tensor // [B, T, 1, D/2]
}

/** Angles position · theta^(−2i/D) for i in 0 … D/2−1, unless a scaling changes the frequencies.
 * @param positions int32, of any shape; [B, T] gives the shapes above
 * @param size D, the head's size
 * @source RoFormer, arXiv 2104.09864 */
export function rotaryAngles(positions: tf.Tensor, size: number, theta: number, scaling?: RopeScaling): Rotary {
  const { frequencies, amplitude } = ropeFrequencies(size, theta, scaling)
  const at = tf.reshape(tf.cast(positions, 'float32'), [...positions.shape, 1, 1]) // [B, T, 1, 1]
  const angles = tf.mul(at, tf.tensor1d(frequencies)) // [B, T, 1, D/2]
  const scaled = (x: tf.Tensor) => (amplitude === 1 ? x : tf.mul(x, amplitude))
  return { cos: scaled(tf.cos(angles)), sin: scaled(tf.sin(angles)) }
}

/** The same, looked up in a table of all positions below `count`: for a loop. The table is computed once, before it, where XLA
 * would compute angles anew in each operation that uses them. */
export function rotaryLookup(
  positions: tf.Tensor,
  count: number,
  size: number,
  theta: number,
  scaling?: RopeScaling,
): Rotary {
  const { cos, sin } = rotaryAngles(tf.range(0, count, 1, 'int32'), size, theta, scaling) // [count, 1, D/2]
  return { cos: tf.gather(cos, positions), sin: tf.gather(sin, positions) }
}

/** Rotates the pairs (x[i], x[i + D/2]) of each head, as Hugging Face lays them out. Computed in the angles' type, f32.
 * @param x [B, T, H, D]
 * @returns [B, T, H, D] in x's type */
export function rotate(x: tf.Tensor, { cos, sin }: Rotary): tf.Tensor {
  const [a, b] = tf.split(x, 2, -1) as [tf.Tensor, tf.Tensor] // [B, T, H, D/2] each
  const turned = tf.concat([tf.sub(tf.mul(a, cos), tf.mul(b, sin)), tf.add(tf.mul(b, cos), tf.mul(a, sin))], -1)
  return astype(turned, typeOf(x))
}
