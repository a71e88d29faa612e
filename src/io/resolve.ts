/** Options with their defaults filled in.
 * @throws Error naming an unknown key and the known ones */
export function resolve<T extends object>(where: string, defaults: T, given: object): T {
  const known = Object.keys(defaults)
  const unknown = Object.keys(given).find(key => !known.includes(key))
  if (unknown !== undefined) throw new Error(`${where}: unknown key "${unknown}". Known: ${known.join(', ')}.`)
  const present = Object.entries(given).filter(([, value]) => value !== undefined)
  return { ...defaults, ...(Object.fromEntries(present) as Partial<T>) }
}
