import * as tf from '@tensorflow/tfjs-core'

/** The identity in the forward pass, a constant to the gradient. */
export function stopGradient(x: tf.Tensor): tf.Tensor {
  return constant(y => tf.clone(y), x)
}

/** What a function makes of a float32 tensor, a constant to the gradient: it may sort and compare, which has none. */
export function constant(f: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor): tf.Tensor {
  return tf.customGrad(y => ({ value: f(y as tf.Tensor), gradFunc: () => tf.zeros(x.shape) }))(x)
}
