import * as tf from '@tensorflow/tfjs-core'

/** Measures of a picture by itself, each meant for the fault it is named by and in 0 … 1, where 1 is free of it (most colourful).
 * They take pictures [B, H, W, 3] in 0 … 1, each side at least 16 pixels, and give [B]. */
export const pictureMeasures = { sharpness, noise, exposure, blocking, colourfulness } satisfies Record<
  string,
  (pictures: tf.Tensor) => tf.Tensor1D
>

/** Sharpness of edges: 1 − scikit-image's `blur_effect`, how much of the gradients (Sobel) a further blur over 11 pixels takes away,
 * along the axis that has less. Noise counts as edges; a flat picture scores 0.
 * @source Crete et al. 2007, The blur effect; scikit-image 0.26, measure/_blur_effect.py */
function sharpness(pictures: tf.Tensor): tf.Tensor1D {
  const y = luminance(pictures)
  const [, height, width] = y.shape as [number, number, number]
  const inner = (t: tf.Tensor) => tf.slice(t, [0, 1, 1], [-1, height - 3, width - 3]) // scikit-image's [2:-1] of the whole
  const lost = [1, 2].map(axis => {
    const gradient = inner(tf.abs(sobel(y, axis)))
    const blurred = inner(tf.abs(sobel(boxBlur(y, axis), axis)))
    const total = tf.sum(gradient, [1, 2])
    const kept = tf.sum(tf.minimum(gradient, blurred), [1, 2])
    return tf.div(tf.sub(total, kept), tf.maximum(total, FLAT))
  })
  return tf.minimum<tf.Tensor1D>(lost[0]!, lost[1]!)
}

/** Freedom from noise, 1 / (1 + σ/0.05), with σ as Immerkær estimates it from second differences, in each block of 8 × 8 pixels; the
 * median block counts, so that edges do not, unless they fill half of the picture.
 * @source Immerkær 1996, Fast noise variance estimation */
function noise(pictures: tf.Tensor): tf.Tensor1D {
  const y = luminance(pictures)
  const second = tf.abs(secondDifference(secondDifference(y, 1), 2)) // [B, H−2, W−2]
  const blocks = blockMeans(second) // [B, blocks]
  const half = Math.ceil(blocks.shape[1]! / 2)
  const median = tf.squeeze(tf.slice(tf.topk(blocks, half).values, [0, half - 1], [-1, 1]), [1])
  const sigma = tf.mul(median, Math.sqrt(Math.PI / 2) / 6)
  return tf.div(1, tf.add(tf.div(sigma, 0.05), 1))
}

/** Exposure: (1 − share of pixels whose three channels are black or white) · exp(−½ ((mean luminance − ½) / 0.25)²).
 * @source the Gaussian is the well-exposedness of Mertens et al. 2007, Exposure fusion, of the mean instead of each pixel */
function exposure(pictures: tf.Tensor): tf.Tensor1D {
  const level = 1.5 / 255
  const clipped = tf.logicalOr(tf.less(tf.max(pictures, -1), level), tf.greater(tf.min(pictures, -1), 1 - level))
  const offset = tf.div(tf.sub(tf.mean(luminance(pictures), [1, 2]), 0.5), 0.25)
  return tf.mul(tf.sub(1, tf.mean(tf.cast(clipped, 'float32'), [1, 2])), tf.exp(tf.mul(tf.square(offset), -0.5)))
}

/** Freedom from 8 × 8 blocks: how much more neighbours differ across the blocks' borders than elsewhere,
 * min(1, (elsewhere + ε) / (across + ε)) with ε = 1/255, the mean of both axes. A picture whose own edges lie on the grid loses too.
 * @source the ratio of Wang, Bovik and Evans 2000, Blind measurement of blocking artifacts in images */
function blocking(pictures: tf.Tensor): tf.Tensor1D {
  const y = luminance(pictures)
  const scores = [1, 2].map(axis => {
    const differences = tf.mean(tf.abs(difference(y, axis, 1)), 3 - axis) // [B, length − 1]
    const places = differences.shape[1]!
    const border = tf.tensor1d(Array.from({ length: places }, (_, i) => (i % 8 === 7 ? 1 : 0)))
    const mean = (weights: tf.Tensor) => tf.div(tf.sum(tf.mul(differences, weights), 1), tf.sum(weights))
    const epsilon = 1 / 255
    return tf.minimum(1, tf.div(tf.add(mean(tf.sub(1, border)), epsilon), tf.add(mean(border), epsilon)))
  })
  return tf.div(tf.add(scores[0]!, scores[1]!), 2)
}

/** Colourfulness: min(1, M/109), M = σ + 0.3 μ of the opponents R − G and (R + G)/2 − B in grey levels; 109 is what the authors'
 * observers called extremely colourful.
 * @source Hasler and Süsstrunk 2003, Measuring colourfulness in natural images */
function colourfulness(pictures: tf.Tensor): tf.Tensor1D {
  const [r, g, b] = tf.unstack(tf.mul(pictures, 255), -1) as [tf.Tensor, tf.Tensor, tf.Tensor]
  const [redGreen, yellowBlue] = [
    tf.moments(tf.sub(r, g), [1, 2]),
    tf.moments(tf.sub(tf.mul(tf.add(r, g), 0.5), b), [1, 2]),
  ]
  const deviation = tf.sqrt(tf.add(redGreen.variance, yellowBlue.variance))
  const mean = tf.sqrt(tf.add(tf.square(redGreen.mean), tf.square(yellowBlue.mean)))
  return tf.minimum(1, tf.div(tf.add(deviation, tf.mul(mean, 0.3)), 109))
}

/** [B, H, W, 3] → [B, H, W], by scikit-image's `rgb2gray` (the weights of BT.709). */
const luminance = (pictures: tf.Tensor): tf.Tensor =>
  tf.sum(tf.mul(pictures, tf.tensor1d([0.2125, 0.7154, 0.0721])), -1)

/** A sum of gradients under which a picture counts as flat. */
const FLAT = 1e-6

/** x at i + step minus x at i, of what lies inside. */
function difference(x: tf.Tensor, axis: number, step: number): tf.Tensor {
  return tf.sub(shifted(x, axis, step, step), shifted(x, axis, 0, step))
}

function secondDifference(x: tf.Tensor, axis: number): tf.Tensor {
  return difference(difference(x, axis, 1), axis, 1)
}

/** Gradient along an axis, smoothed by 1, 2, 1 across it. [B, H, W] → [B, H−2, W−2] */
function sobel(x: tf.Tensor, axis: number): tf.Tensor {
  const across = 3 - axis
  const along = difference(x, axis, 2)
  const [before, here, after] = [0, 1, 2].map(k => shifted(along, across, k, 2)) as [tf.Tensor, tf.Tensor, tf.Tensor]
  return tf.add(tf.add(before, after), tf.mul(here, 2))
}

/** Mean of 11 pixels along an axis, the border mirrored. */
function boxBlur(x: tf.Tensor, axis: number): tf.Tensor {
  const padding = x.shape.map<[number, number]>((_, i) => (i === axis ? [5, 5] : [0, 0]))
  const padded = tf.mirrorPad(x, padding, 'symmetric')
  return tf.div(tf.addN(Array.from({ length: 11 }, (_, k) => shifted(padded, axis, k, 10))), 11)
}

/** What lies from `begin` on along an axis, `shorter` less than all of it. */
function shifted(x: tf.Tensor, axis: number, begin: number, shorter: number): tf.Tensor {
  const size = x.shape.map((n, i) => (i === axis ? n - shorter : n))
  return tf.slice(x, size.map((_, i) => (i === axis ? begin : 0)), size) // prettier-ignore
}

/** Means of whole blocks of 8 × 8. [B, H, W] → [B, blocks] */
function blockMeans(x: tf.Tensor): tf.Tensor {
  const [b, height, width] = x.shape as [number, number, number]
  const [rows, columns] = [Math.floor(height / 8), Math.floor(width / 8)]
  const whole = tf.slice(x, [0, 0, 0], [b, rows * 8, columns * 8])
  return tf.reshape(tf.mean(tf.reshape(whole, [b, rows, 8, columns, 8]), [2, 4]), [b, rows * columns])
}
