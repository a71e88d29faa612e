import * as tf from '@tensorflow/tfjs-core'

/* Activation functions, elementwise, under the names of PyTorch and of checkpoints' config.json. */

/** x·σ(x). */
export const silu = (x: tf.Tensor): tf.Tensor => tf.mul(x, tf.sigmoid(x))

/** x·Φ(x), Φ the normal distribution function.
 * @source arXiv 1606.08415 */
export const gelu = (x: tf.Tensor): tf.Tensor => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1))

/** The approximation of {@link gelu} by tanh: "gelu_new", "gelu_pytorch_tanh", approximate="tanh". */
export const geluTanh = (x: tf.Tensor): tf.Tensor => {
  const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI))
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1))
}

/** x·σ(1.702 x), CLIP's approximation of {@link gelu}. */
export const quickGelu = (x: tf.Tensor): tf.Tensor => tf.mul(x, tf.sigmoid(tf.mul(x, 1.702)))
