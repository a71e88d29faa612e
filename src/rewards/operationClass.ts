import { textReward, type Reward } from './reward.js'

/** 1 if the operation that the reply names (`add: 7+5=12`) is the one in the column `operation`, 0 otherwise. */
export function operationClass(): Reward {
  return textReward('operationClass', ['operation'], (text, operation) => (namedOperation(text) === operation ? 1 : 0))
}

/** The operation a reply names at the start of a line; null if it names none, or more than one. */
export function namedOperation(text: string): string | null {
  const names = new Set(Array.from(text.matchAll(/^\s*(add|sub|mul|div):/gm), match => match[1]!))
  return names.size === 1 ? [...names][0]! : null
}
