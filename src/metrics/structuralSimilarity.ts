import * as tf from '@tensorflow/tfjs-core'

const WINDOW = 7
const [K1, K2] = [0.01, 0.03]

export interface SimilarityOptions {
  /** Largest value minus smallest value that a pixel may have. Default 1. */
  data_range?: number
  /** [B, H, W, 1], 1 where pixels count; of SSIM, windows that lie wholly on such pixels. Default all. */
  mask?: tf.Tensor
}

/** Mean structural similarity (SSIM) of pictures, as scikit-image's `structural_similarity` with `channel_axis=-1`: 7 × 7 windows
 * of equal weights wholly inside the picture, sample covariance, mean over places and channels.
 *
 *   SSIM = (2 μx μy + C₁)(2 σxy + C₂) / ((μx² + μy² + C₁)(σx² + σy² + C₂)),  C₁ = (0.01 R)², C₂ = (0.03 R)²
 *
 * @param x [B, H, W, C], and `y` alike. Whole numbers of 0 … 255 with data_range 255 sum exactly in float32
 * @returns [B] in −1 … 1, 1 for equal pictures; NaN where no window counts
 * @throws Error if a side is under 7 pixels
 * @source Wang et al. 2004, Image quality assessment; scikit-image 0.26, metrics/_structural_similarity.py */
export function structuralSimilarity(x: tf.Tensor, y: tf.Tensor, options: SimilarityOptions = {}): tf.Tensor1D {
  const { data_range = 1, mask } = options
  const [, height, width] = x.shape as [number, number, number, number]
  if (Math.min(height, width) < WINDOW)
    throw new Error(
      `structuralSimilarity: ${width} × ${height} pixels, needed at least ${WINDOW} × ${WINDOW}. Resize the pictures.`,
    )
  const n = WINDOW ** 2
  // Moments about the middle of the range: smaller numbers, so less is lost where products nearly cancel.
  const middle = data_range / 2
  const [p, q] = [tf.sub(x, middle), tf.sub(y, middle)]
  const [sumP, sumQ] = [windowSum(p), windowSum(q)] // [B, H−6, W−6, C]
  const covariance = (a: tf.Tensor, b: tf.Tensor, sumA: tf.Tensor, sumB: tf.Tensor): tf.Tensor =>
    tf.div(tf.sub(tf.mul(windowSum(tf.mul(a, b)), n), tf.mul(sumA, sumB)), n * (n - 1))
  const [meanX, meanY] = [tf.add(tf.div(sumP, n), middle), tf.add(tf.div(sumQ, n), middle)]
  const [c1, c2] = [(K1 * data_range) ** 2, (K2 * data_range) ** 2]
  const luminance = tf.div(
    tf.add(tf.mul(tf.mul(meanX, meanY), 2), c1),
    tf.add(tf.add(tf.square(meanX), tf.square(meanY)), c1),
  )
  const structure = tf.div(
    tf.add(tf.mul(covariance(p, q, sumP, sumQ), 2), c2),
    tf.add(tf.add(covariance(p, p, sumP, sumP), covariance(q, q, sumQ, sumQ)), c2),
  )
  const similarity = tf.mean(tf.mul(luminance, structure), -1, true) // [B, H−6, W−6, 1]
  return masked(similarity, mask && tf.cast(tf.equal(windowSum(mask), n), 'float32'))
}

/** Mean over the places of each row, [B, H, W, C] → [B]; those where `mask` [B, H, W, 1] is 0 do not count. */
export function masked(values: tf.Tensor, mask?: tf.Tensor): tf.Tensor1D {
  if (!mask) return tf.mean(values, [1, 2, 3])
  const places = tf.mul(tf.sum(mask, [1, 2, 3]), values.shape[3]!)
  return tf.div(tf.sum(tf.mul(values, mask), [1, 2, 3]), places)
}

/** Sums over all windows inside the picture, as shifted copies along either axis: an addition keeps whole numbers exact.
 * @returns [B, H−6, W−6, C] */
function windowSum(x: tf.Tensor): tf.Tensor {
  return [1, 2].reduce((sum, axis) => {
    const size = sum.shape.map((n, i) => (i === axis ? n - WINDOW + 1 : n))
    const begin = (k: number) => size.map((_, i) => (i === axis ? k : 0))
    return tf.addN(Array.from({ length: WINDOW }, (_, k) => tf.slice(sum, begin(k), size)))
  }, x)
}
