import * as tf from '@tensorflow/tfjs-core'
import { peakSignalToNoise } from '../metrics/peakSignalToNoise.js'
import { compared } from './compared.js'
import type { Reward } from './reward.js'

/** Peak signal-to-noise ratio of the completion against the picture in a column, by default the true `target`: decibels, at most
 * 100, which equal pictures score (a reward is finite).
 * @throws naming the row whose column holds no picture, or one of another size
 * @source {@link peakSignalToNoise} */
export function psnr({ column = 'target' }: { column?: string } = {}): Reward {
  return compared('psnr', column, (x, y, options) => tf.minimum(peakSignalToNoise(x, y, options), MOST))
}

const MOST = 100 // decibels
