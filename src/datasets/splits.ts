export interface Splits<T> {
  train: T[]
  dev: T[]
  test: T[]
}

/** Draws examples until their splits are full: a tenth of `size` each is dev and test.
 * @param draw what makes an example, and the text that tells its split; or null to draw again
 * @throws if `size` is not a whole number of at least 10, or nothing new was found for long */
export function drawSplits<T>(
  name: string,
  size: number,
  draw: () => { row: () => T; text: string } | null,
): Splits<T> {
  if (!Number.isInteger(size) || size < 10)
    throw new Error(`${name}: size is ${size}, needed a whole number of at least 10. Use for example 2000.`)
  const heldOut = Math.round(size / 10)
  const room: Record<keyof Splits<never>, number> = { train: size - 2 * heldOut, dev: heldOut, test: heldOut }
  const splits: Splits<T> = { train: [], dev: [], test: [] }
  for (let left = size, misses = 0; left > 0; misses++) {
    if (misses > 100_000)
      throw new Error(`${name}: size is ${size}, found only ${size - left} distinct ones. Use a smaller size.`)
    const drawn = draw()
    if (!drawn) continue
    const split = splitOf(drawn.text)
    if (splits[split].length === room[split]) continue
    splits[split].push(drawn.row())
    left--
    misses = 0
  }
  return splits
}

/** Which split an example belongs to: a tenth each are dev and test, by a hash of the text that must not occur in two of them. */
export function splitOf(text: string): keyof Splits<never> {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  const bucket = ((hash ^ (hash >>> 16)) >>> 0) % 10
  return bucket === 0 ? 'test' : bucket === 1 ? 'dev' : 'train'
}
