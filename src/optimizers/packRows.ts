/** Lays rows behind one another so that few places stay empty: the longest first, each into the fullest pack that takes it.
 * @param lengths tokens of each row; longer ones are taken for `size`, empty ones left out
 * @param size of a pack
 * @returns indices of the rows of each pack
 * @source TRL 1.16, packing_strategy "bfd" (best fit, decreasing): Fewer truncations improve language modeling, arXiv 2404.10830 */
export function packRows(lengths: readonly number[], size: number): number[][] {
  const length = (row: number) => Math.min(lengths[row]!, size)
  const longestFirst = [...lengths.keys()].filter(row => length(row) > 0).sort((a, b) => length(b) - length(a))
  const packs: number[][] = []
  const open: number[][][] = Array.from({ length: size }, () => []) // packs by how much they still take
  for (const row of longestFirst) {
    let space = length(row)
    while (space < size && open[space]!.length === 0) space++
    const pack = open[space]?.shift() ?? []
    if (pack.length === 0) packs.push(pack)
    pack.push(row)
    open[space - length(row)]!.push(pack)
  }
  return packs
}
