type HalfType = 'bf16' | 'f16'

let current: HalfType | null = null

/** Computes the matrix products and convolutions of floats that `f` records in half precision, as PyTorch's autocast does:
 * operands are rounded, sums are kept in f32, the result has the half type. All other operations keep their operands' types,
 * weights stay as they are, and gradients have the types of what they belong to. No effect on a stock backend.
 * @param type null: as if in no autocast */
export function autocast<T>(type: HalfType | null, f: () => T): T {
  const outer = current
  current = type
  try {
    return f()
  } finally {
    current = outer
  }
}

/** The type that products of floats are computed in; null: that of their operands. */
export const autocastType = (): HalfType | null => current

/** After code was interrupted that could not clean up. */
export function endAutocast(): void {
  current = null
}
