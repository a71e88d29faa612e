export interface Splits<T> {
  train: T[]
  dev: T[]
  test: T[]
}

/** Which split an example belongs to: a tenth each are dev and test, by a hash of the text that must not occur in two of them. */
export function splitOf(text: string): keyof Splits<never> {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  const bucket = ((hash ^ (hash >>> 16)) >>> 0) % 10
  return bucket === 0 ? 'test' : bucket === 1 ? 'dev' : 'train'
}
