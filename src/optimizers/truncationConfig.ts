import { requireOneOf, requireWhole } from '../config.js'

/** How long rows of a data set are cut; names and defaults are those of TRL 1.16. Pictures are not cut. */
export interface TruncationConfig {
  /** Tokens of a row, prompt and completion together, that are kept; null: all. */
  max_length: number | null
  /** Which tokens of a longer row are kept: `keep_start` the first, `keep_end` the last. */
  truncation_mode: 'keep_start' | 'keep_end'
}

export const truncationDefaults: TruncationConfig = { max_length: 1024, truncation_mode: 'keep_start' }

/** @throws naming the field that is out of range */
export function checkTruncationConfig(where: string, { max_length, truncation_mode }: TruncationConfig): void {
  if (max_length !== null) requireWhole(where, 'max_length', max_length, 1)
  requireOneOf(where, 'truncation_mode', truncation_mode, ['keep_start', 'keep_end'])
}
