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

/** Angles of places with several coordinates, such as time, row and column: each section of the frequencies turns with one of them.
 * @param positions int32 [B, A, T], A coordinates of each token
 * @param sections frequencies in each section, D/2 together; the i-th turns with coordinate i mod A
 * @source M-RoPE, Qwen2-VL, arXiv 2409.12191 */
export function rotarySections(
  positions: tf.Tensor,
  size: number,
  theta: number,
  sections: readonly number[],
  scaling?: RopeScaling,
): Rotary {
  const { cos, sin } = rotaryAngles(positions, size, theta, scaling) // [B, A, T, 1, D/2]
  const starts = sections.map((_, i) => sections.slice(0, i).reduce((sum, n) => sum + n, 0))
  const dealt = (x: tf.Tensor) => {
    const axes = tf.unstack(x, 1) // A × [B, T, 1, D/2]
    const parts = sections.map((n, i) => tf.slice(axes[i % axes.length]!, [0, 0, 0, starts[i]!], [-1, -1, -1, n]))
    return tf.concat(parts, -1)
  }
  return { cos: dealt(cos), sin: dealt(sin) }
}

/** The same as {@link rotaryAngles}, looked up in a table of all positions below `count`: for a loop. The table is computed once, before it, where XLA
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
