import { pairOf, type Values } from './values.js'

/** The share of pairs whose chosen score is above the rejected one. A tie is a miss, as in TRL.
 * @throws if the lists are empty or differ in length */
export function preferenceAccuracy(chosen: Values<number>, rejected: Values<number>): number {
  const [winners, losers] = pairOf(chosen, rejected, 'preferenceAccuracy')
  return winners.filter((score, i) => score > losers[i]!).length / winners.length
}
