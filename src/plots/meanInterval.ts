/** In the unit of the values. */
export interface MeanInterval {
  mean: number
  /** Bounds of the confidence interval of the mean; null for fewer than two values, which have none. */
  low: number | null
  high: number | null
  /** Number of values. */
  n: number
}

/** Mean and Student t interval, mean ± t·s/√n. With the three to five seeds of a typical study a percentile bootstrap is far too
 * narrow (n = 3: about 75 % coverage for a nominal 95 %); the t interval covers as it says when seeds scatter normally.
 * @param values one number a seed, any unit
 * @param level coverage, in (0, 1)
 * @throws if there is no value or the level is out of range */
export function meanInterval(values: readonly number[], level = 0.95): MeanInterval {
  if (!(level > 0 && level < 1))
    throw new Error(`meanInterval: level is ${level}, needed a number in (0, 1). Use 0.95.`)
  const n = values.length
  if (n === 0) throw new Error('meanInterval: got no values, needed at least one.')
  const centre = mean(values)
  if (n === 1) return { mean: centre, low: null, high: null, n }
  const variance = values.reduce((sum, v) => sum + (v - centre) ** 2, 0) / (n - 1)
  const half = tQuantile(0.5 + level / 2, n - 1) * Math.sqrt(variance / n)
  return { mean: centre, low: centre - half, high: centre + half, n }
}

/** Arithmetic mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, v) => sum + v, 0) / values.length
}

/** Quantile of Student's t for p in [0.5, 1) and whole degrees of freedom, by bisection of the angle θ = atan(t/√ν). */
export function tQuantile(p: number, df: number): number {
  let low = 0
  let high = Math.PI / 2
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (centralProbability(middle, df) < 2 * p - 1) low = middle
    else high = middle
  }
  return Math.sqrt(df) * Math.tan((low + high) / 2)
}

/** P(|T| < √ν·tan θ) for whole ν as a finite series.
 * @source Abramowitz & Stegun 26.7.3 and 26.7.4 */
function centralProbability(theta: number, df: number): number {
  const cos2 = Math.cos(theta) ** 2
  const odd = df % 2 === 1
  let term = odd ? Math.cos(theta) : 1
  let sum = 0
  for (let k = odd ? 3 : 2; k <= df; k += 2) {
    sum += term
    term *= ((k - 1) / k) * cos2
  }
  return odd ? (2 / Math.PI) * (theta + Math.sin(theta) * sum) : Math.sin(theta) * sum
}
