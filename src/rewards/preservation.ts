import { structuralSimilarity } from '../metrics/structuralSimilarity.js'
import { compared } from './compared.js'
import type { Reward } from './reward.js'

/** How well an edit leaves alone what it should: structural similarity of the completion to the source picture (column `image`), over
 * windows that lie wholly outside the edited region (column `mask`, a `Uint8Array` of 1 a pixel that may change; without the column, over all).
 * At most 1, for pixels that stayed as they were; null where the region leaves no window.
 * @throws naming the row whose columns hold no picture, one of another size, or a mask that does not fit
 * @source {@link structuralSimilarity} */
export function preservation(): Reward {
  return compared('preservation', 'image', structuralSimilarity, { unmasked: true })
}
