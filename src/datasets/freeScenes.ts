import type { RgbImage } from '../io/images.js'
import { COLOURS, SHAPES, type Thing } from './editScenes.js'
import { addFault } from './qualityFaults.js'
import { rng, type Rng } from './rng.js'
import { drawSplits, type Splits } from './splits.js'

/** Side of a picture, in pixels. */
export const FREE_SIDE = 64
/** Side of the box that a thing fills, in pixels. */
export const SIZES = { small: 12, large: 20 } as const
/** Named regions, by their middle. */
export const REGIONS = {
  'top left': [16, 16],
  'top right': [48, 16],
  middle: [32, 32],
  'bottom left': [16, 48],
  'bottom right': [48, 48],
} as const
/** What is added to every value of a picture, in grey levels. */
export const LIGHTS = { dark: -45, normal: 0, bright: 45 } as const
export const FREE_EDIT_KINDS = ['recolour', 'remove', 'add', 'move', 'shift', 'enlarge', 'shrink', 'brighten', 'darken', 'sharpen', 'denoise'] as const // prettier-ignore

type Size = keyof typeof SIZES
type Region = keyof typeof REGIONS
export type Light = keyof typeof LIGHTS

/** A thing somewhere in a picture; x and y are the middle of its box, in pixels from the top left. */
export interface FreeThing extends Thing {
  size: Size
  x: number
  y: number
}

export interface FreeScene {
  things: readonly FreeThing[]
  light: Light
  /** What is wrong with the whole picture. */
  fault: 'blur' | 'noise' | null
}

/** An instruction to edit a picture, and all that is known about it. */
export interface FreeEdit {
  /** What an image policy takes. */
  prompt: { image: RgbImage; prompt: string }
  kind: (typeof FREE_EDIT_KINDS)[number]
  /** The picture before. */
  image: RgbImage
  /** The picture that was asked for. */
  target: RgbImage
  /** 1 for each pixel that the edit may change. */
  mask: Uint8Array
  source: FreeScene
  expected: FreeScene
}

/** Instructions on pictures of 64 × 64 pixels: two or three coloured shapes of two sizes, placed anywhere without touching. Either a
 * thing is to be recoloured, removed, added, moved to a named region, shifted by 8 or 16 pixels, enlarged or shrunk, or the whole picture
 * is to be brightened, darkened, sharpened or freed of noise. No two things of a picture have both colour and shape in common. Where
 * {@link editScenes} has four places, things here lie at any whole pixel. The split is a hash of the picture before, the same for every
 * seed and size.
 * @param options.size instructions in all; a tenth each go to dev and test
 * @throws if `size` is not a whole number of at least 10 */
export function freeScenes({ seed, size }: { seed: number; size: number }): Splits<FreeEdit> {
  const random = rng(seed)
  return drawSplits('freeScenes', size, () => {
    const edit = drawEdit(random)
    return { row: () => freeEdit(edit), text: JSON.stringify(edit.source) }
  })
}

type Edit = Pick<FreeEdit, 'kind' | 'source' | 'expected'> & { instruction: string }

/** A scene and an edit, of a kind drawn with equal odds, that fits it. */
function drawEdit(random: Rng): Edit {
  const kind = random.pick(FREE_EDIT_KINDS)
  for (;;) {
    const things = drawThings(random)
    const edit = edits[kind](things, random)
    if (!edit) continue
    const plain: FreeScene = { things, light: 'normal', fault: null }
    return {
      kind,
      instruction: edit.instruction,
      source: { ...plain, ...edit.source },
      expected: { ...plain, ...edit.expected },
    }
  }
}

/** What a kind of edit asks of a picture with these things, and how the scenes before and after differ from it undamaged in normal light;
 * null if it does not fit. */
const edits: Record<
  FreeEdit['kind'],
  (
    things: readonly FreeThing[],
    random: Rng,
  ) => { instruction: string; source?: Partial<FreeScene>; expected?: Partial<FreeScene> } | null
> = {
  recolour: ([thing, ...others], random) => {
    const changed = { ...thing!, colour: random.pick(COLOURS.filter(colour => colour !== thing!.colour)) }
    if (others.some(other => called(other) === called(changed))) return null
    return { instruction: `make the ${called(thing!)} ${changed.colour}`, expected: { things: [changed, ...others] } }
  },
  remove: ([thing, ...others]) => ({ instruction: `remove the ${called(thing!)}`, expected: { things: others } }),
  add: ([thing, ...others], random) => {
    const { region, ...changed } = inRegion(thing!, random)
    if (!fits(changed, others)) return null
    return {
      instruction: `add a ${changed.size} ${called(changed)} at the ${region}`,
      source: { things: others },
      expected: { things: [changed, ...others] },
    }
  },
  move: ([thing, ...others], random) => {
    const { region, ...changed } = inRegion(thing!, random)
    if (!fits(changed, others) || Math.hypot(changed.x - thing!.x, changed.y - thing!.y) < 8) return null
    return { instruction: `move the ${called(thing!)} to the ${region}`, expected: { things: [changed, ...others] } }
  },
  shift: ([thing, ...others], random) => {
    const [way, dx, dy] = random.pick([['left', -1, 0], ['right', 1, 0], ['up', 0, -1], ['down', 0, 1]] as const) // prettier-ignore
    const pixels = random.pick([8, 16])
    const changed = { ...thing!, x: thing!.x + dx * pixels, y: thing!.y + dy * pixels }
    if (!fits(changed, others)) return null
    return {
      instruction: `move the ${called(thing!)} ${way} by ${pixels}`,
      expected: { things: [changed, ...others] },
    }
  },
  enlarge: resize('small', 'large', 'enlarge'),
  shrink: resize('large', 'small', 'shrink'),
  brighten: (_, random) => ({ instruction: 'brighten the picture', ...random.pick([lit('dark', 'normal'), lit('normal', 'bright')]) }), // prettier-ignore
  darken: (_, random) => ({ instruction: 'darken the picture', ...random.pick([lit('bright', 'normal'), lit('normal', 'dark')]) }), // prettier-ignore
  sharpen: () => ({ instruction: 'sharpen the picture', source: { fault: 'blur' } }),
  denoise: () => ({ instruction: 'denoise the picture', source: { fault: 'noise' } }),
}

function resize(from: Size, to: Size, verb: string): (typeof edits)['enlarge'] {
  return ([thing, ...others]) => {
    const changed = { ...thing!, size: to }
    if (thing!.size !== from || !fits(changed, others)) return null
    return { instruction: `${verb} the ${called(thing!)}`, expected: { things: [changed, ...others] } }
  }
}

const lit = (before: Light, after: Light) => ({ source: { light: before }, expected: { light: after } })

function inRegion(thing: FreeThing, random: Rng): FreeThing & { region: Region } {
  const region = random.pick(Object.keys(REGIONS) as Region[])
  const [x, y] = REGIONS[region]
  return { ...thing, x, y, region }
}

const called = ({ colour, shape }: Thing): string => `${colour} ${shape}`

/** Two or three things that differ in name and do not touch. */
export function drawThings(random: Rng): FreeThing[] {
  const things: FreeThing[] = []
  for (let count = 2 + random.int(2); things.length < count;) {
    const [x, y] = [random.int(FREE_SIDE), random.int(FREE_SIDE)]
    const size = random.pick(Object.keys(SIZES) as Size[])
    const thing = { shape: random.pick(SHAPES), colour: random.pick(COLOURS), size, x, y }
    if (fits(thing, things) && !things.some(other => called(other) === called(thing))) things.push(thing)
  }
  return things
}

const GAP = 4 // between the boxes of two things, in pixels
const MARGIN = 2 // to the border

/** Whether a thing lies within the picture and touches no other. */
function fits(thing: FreeThing, others: readonly FreeThing[]): boolean {
  const half = SIZES[thing.size] / 2
  const inside = [thing.x, thing.y].every(at => at - half >= MARGIN && at + half <= FREE_SIDE - MARGIN)
  return inside && others.every(other => Math.max(Math.abs(thing.x - other.x), Math.abs(thing.y - other.y)) >= half + SIZES[other.size] / 2 + GAP) // prettier-ignore
}

function freeEdit({ kind, instruction, source, expected }: Edit): FreeEdit {
  const [image, target] = [renderFreeScene(source), renderFreeScene(expected)]
  return { prompt: { image, prompt: instruction }, kind, image, target, mask: changeable(source, expected), source, expected } // prettier-ignore
}

/** 1 in the boxes of things that one of the scenes lacks, a pixel wider; everywhere if light or fault differ. */
function changeable(source: FreeScene, expected: FreeScene): Uint8Array {
  const whole = source.light !== expected.light || source.fault !== expected.fault
  const mask = new Uint8Array(FREE_SIDE * FREE_SIDE).fill(whole ? 1 : 0)
  const lacks = ({ things }: FreeScene, thing: FreeThing) => !things.includes(thing)
  const changed = [...source.things.filter(t => lacks(expected, t)), ...expected.things.filter(t => lacks(source, t))]
  for (const { x, y, size } of changed) {
    const reach = SIZES[size] / 2 + 1
    for (let row = y - reach; row < y + reach; row++) mask.fill(1, row * FREE_SIDE + x - reach, row * FREE_SIDE + x + reach) // prettier-ignore
  }
  return mask
}

/** Colours in normal light. */
export const PAINT: Record<Thing['colour'], readonly [number, number, number]> = {
  red: [205, 50, 50],
  green: [50, 150, 60],
  blue: [50, 80, 200],
  yellow: [205, 180, 50],
}
export const GROUND = 165 // grey level of the background
const SAMPLES = 4 // a side of a pixel, for smooth edges
const BLUR = 0.75 // strength of addFault: σ is 2 pixels
const GRAIN = 8 // side of a grain of noise, in pixels
const NOISE = 40 // grains differ by up to this many grey levels each way

export function renderFreeScene({ things, light, fault }: FreeScene): RgbImage {
  const data = new Uint8ClampedArray(FREE_SIDE * FREE_SIDE * 3).fill(GROUND + LIGHTS[light])
  for (const { shape, colour, size, x, y } of things) {
    const side = SIZES[size]
    STENCILS[shape][size].forEach((covered, i) => {
      const at = 3 * ((y - side / 2 + Math.floor(i / side)) * FREE_SIDE + x - side / 2 + (i % side))
      for (let c = 0; c < 3; c++) data[at + c] = data[at + c]! + Math.round((PAINT[colour][c]! - GROUND) * covered)
    })
  }
  const image = { width: FREE_SIDE, height: FREE_SIDE, data }
  const random = rng(0, ...things.flatMap(({ x, y }) => [x, y])) // the same noise whenever a scene is drawn
  switch (fault) {
    case null:
      return image
    case 'blur':
      return addFault(image, 'blur', BLUR, random)
    case 'noise':
      return { ...image, data: grainy(data, random) }
  }
}

/** Every block of 8 × 8 pixels lighter or darker by its own amount: noise so coarse that a small autoencoder draws it too. (It would leave
 * out noise of single pixels, and an edit that copies would free a picture of it.) */
function grainy(data: Uint8ClampedArray, random: Rng): Uint8ClampedArray {
  const grains = Array.from({ length: (FREE_SIDE / GRAIN) ** 2 }, () => (2 * random.uniform() - 1) * NOISE)
  return data.map((value, i) => {
    const [x, y] = [Math.floor(i / 3) % FREE_SIDE, Math.floor(i / 3 / FREE_SIDE)]
    return value + grains[Math.floor(y / GRAIN) * (FREE_SIDE / GRAIN) + Math.floor(x / GRAIN)]!
  })
}

/** Whether a shape covers a point of its box, from the middle. */
const covers: Record<Thing['shape'], (x: number, y: number, half: number) => boolean> = {
  circle: (x, y, half) => Math.hypot(x, y) < half,
  square: () => true,
  triangle: (x, y, half) => Math.abs(x) < (y + half) / 2,
}

/** The part of each pixel of its box that a shape covers. */
function stencil(shape: Thing['shape'], side: number): number[] {
  return Array.from({ length: side * side }, (_, pixel) => {
    let inside = 0
    for (let i = 0; i < SAMPLES * SAMPLES; i++) {
      const u = (pixel % side) + ((i % SAMPLES) + 0.5) / SAMPLES - side / 2
      const v = Math.floor(pixel / side) + (Math.floor(i / SAMPLES) + 0.5) / SAMPLES - side / 2
      if (covers[shape](u, v, side / 2)) inside++
    }
    return inside / (SAMPLES * SAMPLES)
  })
}

const ofSizes = (shape: Thing['shape']) => ({ small: stencil(shape, SIZES.small), large: stencil(shape, SIZES.large) })
const STENCILS = { circle: ofSizes('circle'), square: ofSizes('square'), triangle: ofSizes('triangle') }
