import { pairOf, type Values } from './values.js'

/** Spearman's rank correlation: Pearson's of the ranks, equal values sharing the mean of theirs.
 * @returns −1 … 1; NaN where one of the lists is constant
 * @throws if the lists are empty or differ in length */
export function rankCorrelation(x: Values<number>, y: Values<number>): number {
  const [a, b] = pairOf(x, y, 'rankCorrelation').map(ranks) as [number[], number[]]
  const middle = (a.length - 1) / 2
  const product = (p: number[], q: number[]) => p.reduce((sum, r, i) => sum + (r - middle) * (q[i]! - middle), 0)
  return product(a, b) / Math.sqrt(product(a, a) * product(b, b))
}

/** Places in ascending order, from 0. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => values[i]! - values[j]!)
  const found = new Array<number>(values.length)
  for (let first = 0; first < order.length;) {
    let end = first
    while (end < order.length && values[order[end]!] === values[order[first]!]) end++
    for (let i = first; i < end; i++) found[order[i]!] = (first + end - 1) / 2
    first = end
  }
  return found
}
