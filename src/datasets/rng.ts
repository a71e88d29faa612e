/** A seeded stream of random numbers for host-side work: data, shuffling, resampling. */
export interface Rng {
  /** An integer in [0, 2³²). */
  uint32(): number
  /** A number in [0, 1) with 53 random bits. */
  uniform(): number
  /** An integer in [0, n). */
  int(n: number): number
  pick<T>(items: readonly T[]): T
  /** A shuffled copy (Fisher–Yates). */
  shuffle<T>(items: readonly T[]): T[]
}

const MASK = (1n << 64n) - 1n

/** Same seed, same numbers, on any machine: xoshiro128** started by splitmix64.
 *
 * Further integers name independent streams of one seed, so that no generator's position has to be stored:
 * `rng(seed, epoch).shuffle(rows)` is the order of an epoch.
 * @throws if the seed or a stream is not a safe integer
 * @source Blackman and Vigna, Scrambled Linear Pseudorandom Number Generators, arXiv 1805.01407 */
export function rng(seed: number, ...streams: number[]): Rng {
  let key = 0n
  for (const part of [seed, ...streams]) {
    if (!Number.isSafeInteger(part)) throw new Error(`rng: seed is ${part}, needed a whole number. Use for example 1.`)
    key = splitmix64((key + BigInt(part)) & MASK)
  }
  return xoshiro128(words(key))
}

/** The generator itself, from its four state words.
 * @param state four unsigned 32-bit words, not all zero */
export function xoshiro128(state: readonly [number, number, number, number]): Rng {
  let [a, b, c, d] = state

  const uint32 = (): number => {
    const scrambled = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9)
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = rotateLeft(d, 11)
    return scrambled >>> 0
  }
  const uniform = (): number => ((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) / 2 ** 53
  const int = (n: number): number => Math.floor(uniform() * n)

  return {
    uint32,
    uniform,
    int,
    pick: items => {
      if (items.length === 0) throw new Error('rng.pick: got an empty list, needed at least one item.')
      return items[int(items.length)]!
    },
    shuffle: items => {
      const shuffled = [...items]
      for (let i = shuffled.length - 1; i > 0; i--) {
        const j = int(i + 1)
        ;[shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!]
      }
      return shuffled
    },
  }
}

/** One splitmix64 output: a bijective scrambling of 64 bits. */
function splitmix64(x: bigint): bigint {
  let z = (x + 0x9e3779b97f4a7c15n) & MASK
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK
  return z ^ (z >> 31n)
}

/** A 64-bit key stretched to the generator's 128 bits. */
function words(key: bigint): [number, number, number, number] {
  const [low, high] = [splitmix64(key), splitmix64((key + 1n) & MASK)]
  const word = (x: bigint): number => Number(x & 0xffffffffn)
  return [word(low), word(low >> 32n), word(high), word(high >> 32n)]
}

function rotateLeft(x: number, k: number): number {
  return (x << k) | (x >>> (32 - k))
}
