import * as tf from '@tensorflow/tfjs-core'
import { astype } from '../xla/index.js'

/** Log-probabilities of given tokens under softmax(logits). Its gradient, 1 at the token − softmax(logits), is one pass over
 * the logits, where that of a log-softmax and a choice takes several.
 * @param logits [..., V]
 * @param ids [...] int32
 * @returns [...] float32, whatever the logits' type */
export function tokenLogProbs(logits: tf.Tensor, ids: tf.Tensor): tf.Tensor {
  const vocabulary = logits.shape.at(-1)!
  const at = tf.reshape(ids, [-1, 1]) // [N, 1]
  const logProbs = tf.customGrad((x, save) => {
    const rows = x as tf.Tensor // [N, V]
    const total = tf.logSumExp(rows, -1, true) // [N, 1]
    ;(save as tf.GradSaveFunc)([rows, total, at])
    return {
      value: tf.sub(tf.gather(rows, at, 1, 1), total), // [N, 1]
      gradFunc: (dy: tf.Tensor, [x, sum, at]: tf.Tensor[]) => {
        const chosen = tf.equal(tf.range(0, vocabulary, 1, 'int32'), at!) // [N, V]
        return tf.mul(tf.sub(tf.cast(chosen, 'float32'), tf.exp(tf.sub(x!, sum!))), dy)
      },
    }
  })(tf.reshape(astype(logits, 'f32'), [-1, vocabulary])) // in half precision a loss of 10 has one digit after the point
  return tf.reshape(logProbs, ids.shape)
}
