/** Fills a configuration's gaps with defaults and refuses what it does not know.
 * @param where names the configuration in errors
 * @throws if a key is unknown (the nearest known one is named), or something else stands where the
 * default is a number or a boolean
 * @param nullable keys that may be null all the same */
export function resolveConfig<T extends object>(
  where: string,
  defaults: T,
  given: Partial<T>,
  nullable: readonly (keyof T)[] = [],
): T {
  const known = Object.keys(defaults)
  for (const [key, value] of Object.entries(given)) {
    if (known.length === 0) throw new Error(`${where}: unknown key "${key}". It takes none.`)
    if (!known.includes(key))
      throw new Error(
        `${where}: unknown key "${key}". Did you mean "${nearest(key, known)}"? Known: ${known.join(', ')}.`,
      )
    if (value === null && nullable.includes(key as keyof T)) continue
    const expected = typeof defaults[key as keyof T]
    if (value === undefined || (expected !== 'number' && expected !== 'boolean') || typeof value === expected) continue
    throw new Error(
      `${where}: ${key} is ${JSON.stringify(value)} (${typeof value}), needs a ${expected} such as ${String(defaults[key as keyof T])}.`,
    )
  }
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  return { ...defaults, ...present }
}

/** @throws unless `value` is one of `choices` */
export function requireOneOf(where: string, key: string, value: string, choices: readonly string[]): void {
  if (!choices.includes(value))
    throw new Error(
      `${where}: ${key} is "${value}", needs one of ${choices.join(', ')}. Did you mean "${nearest(value, choices)}"?`,
    )
}

/** @throws unless `value` is a whole number of at least `least` */
export function requireWhole(where: string, key: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least)
    throw new Error(`${where}: ${key} is ${value}, needs a whole number of at least ${least}.`)
}

/** @param interval such as `(0, 1]`: a round bracket leaves its end out; ∞ is no bound
 * @throws unless `value` is a number in it */
export function requireInside(where: string, key: string, value: number, interval: string): void {
  const [least, most] = interval.slice(1, -1).split(', ').map(end => (end === '∞' ? Infinity : Number(end))) as [number, number] // prettier-ignore
  const above = interval.startsWith('[') ? value >= least : value > least
  const below = interval.endsWith(']') ? value <= most : value < most
  if (!above || !below) throw new Error(`${where}: ${key} is ${value}, needs a number in ${interval}.`)
}

/** The candidate with the fewest edits (Levenshtein) from `word`. */
export function nearest(word: string, candidates: readonly string[]): string {
  const distance = (a: string, b: string) => {
    let row = Array.from({ length: b.length + 1 }, (_, j) => j)
    for (let i = 1; i <= a.length; i++) {
      const next = [i]
      for (let j = 1; j <= b.length; j++)
        next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
      row = next
    }
    return row[b.length]!
  }
  return candidates.reduce((best, c) => (distance(word, c) < distance(word, best) ? c : best))
}
