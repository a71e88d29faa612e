import { rng } from '../datasets/index.js'

/** Rows of a data set in the order of training: epoch after epoch, each shuffled by seed and epoch.
 * @returns a pure function of the position, so that a run resumes by knowing how many rows it has drawn */
export function drawRows<R>(
  rows: readonly R[],
  { seed, shuffle }: { seed: number; shuffle: boolean },
): (position: number, count: number) => R[] {
  let current: { epoch: number; rows: readonly R[] } | undefined
  const ofEpoch = (epoch: number) => {
    if (!shuffle) return rows
    if (current?.epoch !== epoch) current = { epoch, rows: rng(seed, epoch).shuffle(rows) }
    return current.rows
  }
  return (position, count) =>
    Array.from({ length: count }, (_, i) => {
      const at = position + i
      return ofEpoch(Math.floor(at / rows.length))[at % rows.length]!
    })
}
