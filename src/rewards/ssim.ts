import { structuralSimilarity } from '../metrics/structuralSimilarity.js'
import { compared } from './compared.js'
import type { Reward } from './reward.js'

/** Structural similarity of the completion to the picture in a column, by default the true `target`: at most 1, for equal pictures.
 * @throws naming the row whose column holds no picture, or one of another size; for pictures with a side under 7 pixels
 * @source {@link structuralSimilarity} */
export function ssim({ column = 'target' }: { column?: string } = {}): Reward {
  return compared('ssim', column, structuralSimilarity)
}
