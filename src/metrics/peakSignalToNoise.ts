import * as tf from '@tensorflow/tfjs-core'
import { masked, type SimilarityOptions } from './structuralSimilarity.js'

/** Peak signal-to-noise ratio (PSNR) of pictures, 10·log₁₀(R² / mean squared difference), as scikit-image's.
 * @param x [B, H, W, C], and `y` alike
 * @returns [B] in decibels; infinite for equal pictures, NaN where no pixel counts
 * @source scikit-image 0.26, metrics/simple_metrics.py */
export function peakSignalToNoise(x: tf.Tensor, y: tf.Tensor, options: SimilarityOptions = {}): tf.Tensor1D {
  const { data_range = 1, mask } = options
  const error = masked(tf.squaredDifference(x, y), mask) // [B]
  return tf.mul(tf.log(tf.div(data_range ** 2, error)), 10 / Math.LN10)
}
