import * as tf from '@tensorflow/tfjs-core'

/** Log-ratio of a flow's steps, centred: log-probabilities are means over dimensions, so that ratios of good and bad steps alike fall below 1
 * as the mean moves; with what the move alone takes away added, and in units of the deviation, clipping treats both alike.
 *
 *   (logp − old + mean|μ − μ_old|² / 2·std²) · std
 *
 * @param logProbs and oldLogProbs [B, S]
 * @param mean and oldMean [B, S, …]; std broadcasts to them, one number a step
 * @returns [B, S]
 * @source GRPO-Guard, arXiv 2510.22319 */
export function flowRatio(terms: {
  logProbs: tf.Tensor
  oldLogProbs: tf.Tensor
  mean: tf.Tensor
  oldMean: tf.Tensor
  std: tf.Tensor
}): tf.Tensor {
  const moved = flowKl(terms.mean, terms.oldMean, terms.std)
  const scale = tf.reshape(terms.std, terms.logProbs.shape)
  return tf.mul(tf.add(tf.sub(terms.logProbs, terms.oldLogProbs), moved), scale)
}

/** Divergence of two normal distributions of one deviation, a mean over dimensions: mean|μ − μ_ref|² / 2·std².
 * @param mean and reference [B, S, …]; std broadcasts to them
 * @returns [B, S] */
export function flowKl(mean: tf.Tensor, reference: tf.Tensor, std: tf.Tensor): tf.Tensor {
  const [B, S] = mean.shape as [number, number]
  const squares = tf.div(tf.squaredDifference(mean, reference), tf.mul(tf.square(std), 2))
  return tf.mean(tf.reshape(squares, [B, S, -1]), 2)
}
