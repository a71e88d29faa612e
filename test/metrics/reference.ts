import { readFileSync } from 'node:fs'
import { rng } from '../../src/datasets/index.js'

type Scores = Record<'precision' | 'recall' | 'f1', number>

/** Values of scikit-learn and SciPy, made by test/fixtures/generate/metrics.py. */
export interface Reference {
  classification: {
    truth: (string | number)[]
    predicted: (string | number)[]
    labels: string[] | null
    accuracy: number
    averages: Record<'macro' | 'micro' | 'weighted', Scores>
    classes: (Scores & { support: number })[]
    confusion: number[][]
  }[]
  bootstrap: { values: number[]; level: number; mean: number; low: number; high: number }[]
}

/** Values of scikit-learn, made by test/fixtures/generate/flagging.py. */
export interface Flagging {
  labels: string[]
  multilabel: { truth: string[][]; predicted: string[][]; scores: Record<string, string | number>[] }[]
  curves: ({ truth: boolean[] } & Record<
    'scores' | 'precision' | 'recall' | 'thresholds' | 'fpr' | 'tpr' | 'cuts',
    number[]
  >)[]
}

export const reference = stored<Reference>('reference')
export const flagging = stored<Flagging>('flagging')

function stored<T>(name: string): T {
  const path = new URL(`../../../test/fixtures/metrics/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(path, 'utf8')) as T
}

/** Whether two doubles are the same sum of a few terms in another order. */
export function near(a: number, b: number): boolean {
  return Math.abs(a - b) < 1e-12
}

/** Draws of 0 and 1 with probability p of 1. */
export function binary(seed: number, n: number, p = 0.5): number[] {
  const random = rng(seed)
  return Array.from({ length: n }, () => (random.uniform() < p ? 1 : 0))
}

/** How wide an interval is. */
export function width({ low, high }: { low: number; high: number }): number {
  return high - low
}
