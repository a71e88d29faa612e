import * as tf from '@tensorflow/tfjs-core'

/** One step of Muon for a stack of matrices: momentum, orthogonalised by five Newton–Schulz iterations.
 * @param w [L, rows, columns], and `grad` and `momentum` alike
 * @source Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks */
export function muon(
  w: tf.Tensor,
  grad: tf.Tensor,
  momentum: tf.Tensor,
  rate: tf.Tensor,
): { weight: tf.Tensor; momentum: tf.Tensor } {
  const [, rows, columns] = w.shape as [number, number, number]
  const next = tf.add(tf.mul(momentum, BETA), grad)
  const direction = orthogonalized(tf.add(grad, tf.mul(next, BETA))) // Nesterov
  const scale = Math.sqrt(Math.max(1, rows / columns))
  return { weight: tf.sub(w, tf.mul(direction, tf.mul(rate, scale))), momentum: next }
}

const BETA = 0.95
/** Coefficients of the quintic that pulls singular values towards one. */
const [A, B, C] = [3.4445, -4.775, 2.0315] as const

function orthogonalized(g: tf.Tensor): tf.Tensor {
  const tall = g.shape[1]! > g.shape[2]!
  const flip = (t: tf.Tensor) => (tall ? tf.transpose(t, [0, 2, 1]) : t)
  const norm = tf.sqrt(tf.sum(tf.square(g), [1, 2], true))
  let x = flip(tf.div(g, tf.add(norm, 1e-7)))
  for (let i = 0; i < 5; i++) {
    const gram = tf.matMul(x, x, false, true)
    const quadratic = tf.add(tf.mul(gram, B), tf.mul(tf.matMul(gram, gram), C))
    x = tf.add(tf.mul(x, A), tf.matMul(quadratic, x))
  }
  return flip(x)
}
