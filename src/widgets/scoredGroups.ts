import { isPixels, type Sample } from '../plots/index.js'
import { plainText } from './plainText.js'

/** A scored batch, as `weighted(…)` keeps its last one. */
export interface Scored {
  readonly batch: { readonly prompts: readonly unknown[]; readonly completions: readonly unknown[] }
  /** [K][N] */
  readonly scores: readonly (readonly (number | null)[])[]
}

/** The samples of a scored batch by prompt, in the order of the batch.
 * @param names of the components [K] */
export function scoredGroups({ batch, scores }: Scored, names: readonly string[]): Sample[][] {
  const groups: Sample[][] = []
  batch.completions.forEach((completion, n) => {
    const components = Object.fromEntries(names.map((name, k) => [name, scores[k]![n]!]))
    const sample = { ...shown(batch.prompts[n], completion), components }
    if (n > 0 && batch.prompts[n] === batch.prompts[n - 1]) groups.at(-1)!.push(sample)
    else groups.push([sample])
  })
  return groups
}

/** A picture stands beside the one that its prompt holds, if that is a picture with an instruction. */
function shown(prompt: unknown, completion: unknown): Pick<Sample, 'prompt' | 'completion' | 'images'> {
  if (!isPixels(completion)) return { prompt: textOf(prompt), completion: textOf(completion) }
  const { image, prompt: instruction } = prompt as { image?: unknown; prompt?: unknown }
  const images = isPixels(image) ? [image, completion] : [completion]
  return { prompt: textOf(instruction ?? prompt), completion: '', images }
}

/** Text as it is, of a conversation the last message. */
function textOf(value: unknown): string {
  const message = Array.isArray(value) ? (value.at(-1) as { content?: unknown } | undefined) : undefined
  return plainText(message?.content ?? value)
}
