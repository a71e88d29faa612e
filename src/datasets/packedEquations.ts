import { drawOperands, equation, OPERATIONS } from './arithmeticProblems.js'
import type { Language } from './problemWords.js'
import { rng } from './rng.js'

/** Rows of clean equations, several a row, that teach the arithmetic itself in pre-training.
 * @param options `size` rows of `equations` lines each (6 fill about the length of a problem with its reply)
 * @returns rows in TRL's language-modelling format, such as `{ text: 'mul: 3*4=12\nadd: 7+5=12' }` */
export function packedEquations({
  seed,
  size,
  equations = 6,
  language = 'en',
}: {
  seed: number
  size: number
  equations?: number
  /** Default English. */
  language?: Language
}): { text: string }[] {
  const random = rng(seed, 2) // a stream of its own, since problems often carry the same seed
  const line = (): string => {
    const operation = random.pick(OPERATIONS)
    return equation(operation, drawOperands(operation, random), { language })
  }
  return Array.from({ length: size }, () => ({ text: Array.from({ length: equations }, line).join('\n') }))
}
