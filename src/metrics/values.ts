import type * as tf from '@tensorflow/tfjs-core'

/** A list of values, as an array or a tensor. */
export type Values<T> = readonly T[] | tf.Tensor

/** The values as an array.
 * @throws if there are none */
export function listOf<T>(values: Values<T>, where: string): readonly T[] {
  const list = Array.isArray(values) ? (values as readonly T[]) : (Array.from((values as tf.Tensor).dataSync()) as T[])
  if (list.length === 0) throw new Error(`${where}: got no values, needed at least one. Check the data set or filter.`)
  return list
}

/** Two lists that belong together, item by item.
 * @throws if there are none, or more in one than in the other */
export function pairOf<T>(a: Values<T>, b: Values<T>, where: string): [readonly T[], readonly T[]] {
  const pair: [readonly T[], readonly T[]] = [listOf(a, where), listOf(b, where)]
  if (pair[0].length === pair[1].length) return pair
  throw new Error(
    `${where}: got ${pair[0].length} values and ${pair[1].length}, needed as many. Pair them item by item.`,
  )
}
