import { textReward, type Reward } from './reward.js'

export interface CompletionLengthOptions {
  /** Characters up to which a reply scores 1. Default 40. */
  full?: number
  /** Characters from which it scores 0. Default 100. */
  none?: number
}

/** Prefers short replies: 1 up to `full` characters, falling linearly to 0 at `none`. An empty reply scores 0.
 * @throws if not 0 ≤ full < none */
export function completionLength({ full = 40, none = 100 }: CompletionLengthOptions = {}): Reward {
  if (!(full >= 0 && full < none))
    throw new Error(
      `completionLength: full is ${full} and none ${none}, needed 0 ≤ full < none. Use for example 40 and 100.`,
    )
  return textReward('completionLength', [], text => {
    const length = text.trim().length
    return length === 0 ? 0 : Math.min(1, Math.max(0, (none - length) / (none - full)))
  })
}
