import * as tf from '@tensorflow/tfjs-core'

/** Log-probabilities of given tokens under softmax(logits).
 * @param logits [..., V]
 * @param ids [...] int32
 * @returns logProbs [...]; all [..., V], for entropies */
export function tokenLogProbs(logits: tf.Tensor, ids: tf.Tensor): { logProbs: tf.Tensor; all: tf.Tensor } {
  const all = tf.logSoftmax(logits) // [..., V]
  const chosen = tf.oneHot(ids, logits.shape.at(-1)!, 1, 0, 'float32') // [..., V]; a product, since gather has no batched gradient
  return { logProbs: tf.sum(tf.mul(all, chosen), -1), all }
}
