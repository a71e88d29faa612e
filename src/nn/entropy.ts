import * as tf from '@tensorflow/tfjs-core'

/** Entropy of softmax(logits), in nats.
 * @param logits [..., V]
 * @returns [...] */
export function entropy(logits: tf.Tensor): tf.Tensor {
  const logProbs = tf.logSoftmax(logits) // [..., V]
  return tf.neg(tf.sum(tf.mul(tf.exp(logProbs), logProbs), -1))
}
