import assert from 'node:assert/strict'
import { rng, xoshiro128 } from '../../src/datasets/rng.js'

describe('rng', () => {
  it('gives the reference outputs of xoshiro128**', () => {
    // The published test vector of xoshiro128starstar.c 1.1 from the state 1, 2, 3, 4.
    const { uint32 } = xoshiro128([1, 2, 3, 4])
    const expected = [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849]
    assert.deepEqual(
      expected.map(() => uint32()),
      expected,
    )
  })

  it('repeats a seed and separates seeds and streams', () => {
    const first = (...key: [number, ...number[]]): number => rng(...key).uint32()
    assert.equal(first(1), first(1))
    assert.equal(first(1, 5), first(1, 5))
    const keys: [number, ...number[]][] = [[0], [1], [-1], [2], [1, 0], [1, 1], [0, 1], [1, 0, 0]]
    assert.equal(new Set(keys.map(key => first(...key))).size, keys.length)
  })

  it('is uniform in its mean, variance and integers', () => {
    const random = rng(7)
    const n = 20_000
    const draws = Array.from({ length: n }, () => random.uniform())
    const mean = draws.reduce((a, b) => a + b) / n
    const variance = draws.reduce((a, b) => a + (b - mean) ** 2, 0) / n
    assert.ok(Math.abs(mean - 1 / 2) < 0.01) // five standard errors
    assert.ok(Math.abs(variance - 1 / 12) < 0.003)
    const counts = new Array<number>(6).fill(0)
    for (let i = 0; i < n; i++) counts[random.int(6)]!++
    for (const count of counts) assert.ok(Math.abs(count - n / 6) < 270)
  })

  it('shuffles a copy, every order as likely as another', () => {
    const random = rng(3)
    const items = [1, 2, 3]
    const counts = new Map<string, number>()
    for (let i = 0; i < 6000; i++) {
      const order = random.shuffle(items).join('')
      counts.set(order, (counts.get(order) ?? 0) + 1)
    }
    assert.deepEqual(items, [1, 2, 3])
    assert.equal(counts.size, 6)
    for (const count of counts.values()) assert.ok(Math.abs(count - 1000) < 150)
  })

  it('refuses a seed that is no whole number, and an empty choice', () => {
    assert.throws(() => rng(1.5), /seed is 1\.5, needed a whole number/)
    assert.throws(() => rng(NaN), /seed is NaN/)
    assert.throws(() => rng(1).pick([]), /empty list/)
  })
})
