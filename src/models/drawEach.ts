import * as tf from '@tensorflow/tfjs-core'

/** Random tensors of several shapes from one draw: a generator compiled once, not once a shape.
 * @param draw gives that many random numbers [size] */
export function drawEach(shapes: readonly number[][], draw: (size: number) => tf.Tensor): tf.Tensor[] {
  return tf.tidy(() => {
    const sizes = shapes.map(shape => shape.reduce((n, d) => n * d, 1))
    const parts = tf.split(draw(sizes.reduce((a, b) => a + b, 0)), sizes)
    return parts.map((part, i) => tf.reshape(part, shapes[i]!))
  })
}
