import type { Scalarized } from './scalarize.js'

/** The share of each component in the advantage: Σ A·(cᵢ − mean cᵢ) / Σ A², with A = R − mean R and means over a prompt's group.
 *
 * Shares add up to 1. A negative one means that the component pulled against the others; all are 0 where every group ties.
 * Samples without a reward stay outside.
 * @returns [K]
 * @throws if the samples are not whole groups */
export function advantageShares(
  { reward, contributions }: Pick<Scalarized, 'reward' | 'contributions'>,
  { num_generations }: { num_generations: number },
): number[] {
  if (!Number.isInteger(reward.length / num_generations))
    throw new Error(
      `advantageShares: num_generations is ${num_generations}, needed a divisor of the ${reward.length} samples. ` +
        'Pass the number of samples a prompt.',
    )
  const products = contributions.map(() => 0)
  let total = 0
  for (let start = 0; start < reward.length; start += num_generations) {
    const members = Array.from({ length: num_generations }, (_, i) => start + i).filter(n => reward[n] !== null)
    const centred = (values: readonly (number | null)[]): number[] => {
      if (members.every(n => values[n] === values[members[0]!])) return members.map(() => 0) // a tie, exactly
      const mean = members.reduce((sum, n) => sum + values[n]!, 0) / members.length
      return members.map(n => values[n]! - mean)
    }
    const advantages = centred(reward)
    total += dot(advantages, advantages)
    contributions.forEach((row, k) => (products[k]! += dot(advantages, centred(row))))
  }
  return products.map(product => (total > 0 ? product / total : 0))
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0)
}
