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

/** A picture that was drawn stands beside the one that its prompt holds; a text beside the pictures that it was drawn from. */
function shown(prompt: unknown, completion: unknown): Pick<Sample, 'prompt' | 'completion' | 'images'> {
  const { image, images = [image], prompt: instruction = prompt } = (prompt ?? {}) as Record<string, unknown>
  const seen = (Array.isArray(images) ? images : []).filter(isPixels)
  if (isPixels(completion)) return { prompt: textOf(instruction), completion: '', images: [...seen, completion] }
  return { prompt: textOf(instruction), completion: textOf(completion), ...(seen.length > 0 && { images: seen }) }
}

/** Text as it is, of a conversation the last message, with marks for its pictures. */
function textOf(value: unknown): string {
  const message = Array.isArray(value) ? (value.at(-1) as { content?: unknown } | undefined) : undefined
  const content = message?.content ?? value
  if (!Array.isArray(content)) return plainText(content)
  return content.map(({ type, text }: { type?: string; text?: string }) => text ?? `<${type}>`).join('')
}
