import type { RgbImage } from '../io/images.js'
import type { Message } from '../io/tokenizer.js'
import { FIGURES, paint, plain, type Rgb } from './paint.js'
import { rng, type Rng } from './rng.js'
import { drawSplits, type Splits } from './splits.js'

/** The labels of a moderation task, and the symbols that stand for them here: no picture shows what the labels say. */
export const SYMBOL_LABELS = { Nudity: 'ring', Weapons: 'cross' } as const
export type SymbolLabel = keyof typeof SYMBOL_LABELS

export const SYMBOL_SIDE = 40
export const MODERATION_QUESTION = 'Does the picture show Nudity or Weapons? Answer in <answer> </answer>.'

/** A picture that may have symbols among other figures. */
export interface SymbolPicture {
  /** What a policy that sees takes: the question and the picture. */
  prompt: { prompt: Message[]; images: RgbImage[] }
  /** The right reply: `<answer>Nudity, Weapons</answer>`, or `none`. */
  completion: string
  image: RgbImage
  /** Of the symbols that are there. */
  labels: SymbolLabel[]
  /** All figures, from the left, as a caption names them. */
  figures: string[]
  /** How well each label's symbol can be seen, 1 as well as other figures; 0 if it is not there. */
  strength: Record<SymbolLabel, number>
}

/** Pictures of 40 × 40 pixels with three to five figures on a ground of uneven grey. Rings and crosses, which stand for labels, are there
 * in `prevalence` of them each, drawn so faintly at times that they can hardly be seen. The split is a hash of what is drawn, the same for
 * every seed and size.
 * @param options.size pictures in all; a tenth each go to dev and test
 * @param options.prevalence share of pictures that have a label. Default 0.2
 * @throws if `size` is not a whole number of at least 10, or `prevalence` no share */
export function clutteredSymbols({
  seed,
  size,
  prevalence = 0.2,
}: {
  seed: number
  size: number
  prevalence?: number
}): Splits<SymbolPicture> {
  // prettier-ignore
  if (!(prevalence >= 0 && prevalence <= 1))
    throw new Error(`clutteredSymbols: prevalence is ${prevalence}, needed a share between 0 and 1. Use 0.2.`)
  const random = rng(seed)
  return drawSplits('clutteredSymbols', size, () => {
    const plan = drawPlan(random, prevalence)
    return plan && { row: () => drawn(plan), text: JSON.stringify(plan) }
  })
}

type Name = (typeof CLUTTER)[number] | (typeof SYMBOL_LABELS)[SymbolLabel]

interface Placed {
  name: Name
  x: number
  y: number
  half: number
  colour: Rgb
  opacity: number
}

interface Plan {
  placed: Placed[]
  /** Numbers that the ground and its noise are drawn with. */
  noise: number
}

const CLUTTER = ['circle', 'square', 'triangle', 'star'] as const
const GRAIN = 12 // grey levels of noise each way
const LEAST = 0.12 // opacity of the faintest symbol

/** Null if the figures do not fit beside one another. */
function drawPlan(random: Rng, prevalence: number): Plan | null {
  const symbols = Object.values(SYMBOL_LABELS).filter(() => random.uniform() < prevalence)
  const clutter = Array.from({ length: 3 + random.int(3) - symbols.length }, () => random.pick(CLUTTER))
  const placed: Placed[] = []
  for (const name of [...symbols, ...clutter]) {
    const half = 5 + random.int(2)
    const free = () => half + random.int(SYMBOL_SIDE - 2 * half)
    const symbol = !CLUTTER.includes(name as (typeof CLUTTER)[number])
    const opacity = symbol ? LEAST + (1 - LEAST) * random.uniform() ** 1.5 : 0.5 + 0.5 * random.uniform()
    const colour: Rgb = [random.int(150), random.int(150), random.int(150)]
    const place = Array.from({ length: 20 }, () => ({ x: free(), y: free() })).find(({ x, y }) =>
      placed.every(other => Math.max(Math.abs(x - other.x), Math.abs(y - other.y)) >= half + other.half - 1),
    )
    if (!place) return null
    placed.push({ name, ...place, half, colour, opacity })
  }
  return { placed, noise: random.int(1e6) }
}

function drawn({ placed, noise }: Plan): SymbolPicture {
  const random = rng(noise)
  const image = plain(SYMBOL_SIDE, SYMBOL_SIDE, [205, 205, 205])
  for (const { name, colour, opacity, ...at } of placed) paint(image, { covers: FIGURES[name], ...at }, colour, opacity)
  for (let i = 0; i < image.data.length; i += 3) {
    const grain = Math.round((2 * random.uniform() - 1) * GRAIN)
    for (let c = i; c < i + 3; c++) image.data[c] = image.data[c]! + grain
  }
  const strength = { Nudity: 0, Weapons: 0 }
  for (const [label, symbol] of Object.entries(SYMBOL_LABELS))
    strength[label as SymbolLabel] = placed.find(({ name }) => name === symbol)?.opacity ?? 0
  const labels = (Object.keys(SYMBOL_LABELS) as SymbolLabel[]).filter(label => strength[label] > 0)
  return {
    prompt: { prompt: [{ role: 'user', content: MODERATION_QUESTION }], images: [image] },
    completion: moderationReply(labels),
    image,
    labels,
    figures: [...placed].sort((a, b) => a.x - b.x).map(({ name }) => name),
    strength,
  }
}

export const moderationReply = (labels: readonly SymbolLabel[]): string =>
  `<answer>${labels.length > 0 ? labels.join(', ') : 'none'}</answer>`
