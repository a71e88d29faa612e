import { bootstrapInterval, matrixOf, type BootstrapOptions, type Interval, type Sample } from './bootstrapInterval.js'

/** The mean of a − b over the same items, with its bootstrap interval; items that are hard for both cancel out.
 * @param a one value an item [N], or one a seed and item [S][N]
 * @param b likewise; a single row (the base policy) is compared with every seed of `a`
 * @throws if items or seeds do not match, or as {@link bootstrapInterval} */
export function pairedDifference(a: Sample, b: Sample, options: BootstrapOptions = {}): Interval {
  const [left, right] = [matrixOf(a, 'pairedDifference'), matrixOf(b, 'pairedDifference')]
  const shape = (rows: readonly (readonly number[])[]): string => `${rows.length} × ${rows[0]!.length}`
  if (left[0]!.length !== right[0]!.length || (right.length !== 1 && right.length !== left.length))
    throw new Error(
      `pairedDifference: got ${shape(left)} values against ${shape(right)} (seeds × items). ` +
        'Needed the same items, and the same seeds or a single row on the right.',
    )
  const differences = left.map((row, s) => {
    const other = right[right.length === 1 ? 0 : s]!
    return row.map((value, i) => value - other[i]!)
  })
  return bootstrapInterval(differences, options)
}
