import { requireOneOf } from '../config.js'

/** Something that a config names: its options with their defaults, and what makes it of them. */
export interface Named<R> {
  readonly defaults: object
  make(options: object): R
}

/** @param make takes every option, given or default */
export function named<O extends object, R>(defaults: O, make: (options: O) => R): Named<R> {
  return { defaults, make: options => make(options as O) }
}

/** What `name` stands for in a table.
 * @throws naming the nearest name there is */
export function lookUp<R>(where: string, key: string, name: unknown, table: Readonly<Record<string, R>>): R {
  requireOneOf(where, key, String(name), Object.keys(table))
  return table[String(name)]!
}

/** A mapping of a config, as `{ r: 8 }`.
 * @throws naming `where` if something else stands there */
export function mappingOf(where: string, value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new Error(
    `${where} is ${JSON.stringify(value) ?? 'missing'}, needs a mapping of fields such as { name: value }.`,
  )
}

/** A text of a config that must be there.
 * @throws naming the field */
export function textOf(where: string, key: string, value: unknown, example: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw new Error(`${where}: ${key} is ${JSON.stringify(value) ?? 'missing'}, needs a text such as ${example}.`)
}

/** A mapping without some of its fields. */
export function without(mapping: object, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(mapping).filter(([key]) => !keys.includes(key)))
}
