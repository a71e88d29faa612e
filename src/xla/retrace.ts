import { isTensor } from './tree.js'

const SHOWN = 3 // differences in one reason

/** What a call's signature consists of, by place: "argument 0.weights" → "f32[2,3]". */
export type Leaves = ReadonlyMap<string, string>

/** @param describe the words for a tensor or a static value */
export function leavesOf(args: readonly unknown[], describe: (leaf: unknown) => string): Leaves {
  const leaves = new Map<string, string>()
  const visit = (value: unknown, path: string): void => {
    if (isTensor(value) || value === null || typeof value !== 'object') leaves.set(path, describe(value))
    else if (Array.isArray(value)) value.forEach((child, i) => visit(child, `${path}[${i}]`))
    else for (const [key, child] of Object.entries(value)) visit(child, `${path}.${key}`)
  }
  args.forEach((arg, i) => visit(arg, `argument ${i}`))
  return leaves
}

/** How a call differs from the most similar of those that were traced before, for example "argument 0.weights: f32[2,3] → f32[4,3]". */
export function whatChanged(known: Iterable<Leaves>, now: Leaves): string {
  let nearest: string[] | undefined
  for (const before of known) {
    const found = differences(before, now)
    if (!nearest || found.length < nearest.length) nearest = found
  }
  if (!nearest || nearest.length === 0) return 'the structure of the arguments'
  const more = nearest.length - SHOWN
  return nearest.slice(0, SHOWN).join('; ') + (more > 0 ? `; and ${more} more` : '')
}

function differences(before: Leaves, now: Leaves): string[] {
  const places = new Set([...before.keys(), ...now.keys()])
  return [...places].flatMap(place => {
    const [was, is] = [before.get(place) ?? 'absent', now.get(place) ?? 'absent']
    return was === is ? [] : [`${place}: ${was} → ${is}`]
  })
}
