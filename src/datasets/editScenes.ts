import type { RgbImage } from '../io/images.js'
import { rng, type Rng } from './rng.js'
import { drawSplits, type Splits } from './splits.js'

export const SHAPES = ['circle', 'square', 'triangle'] as const
export const COLOURS = ['red', 'green', 'blue', 'yellow'] as const
export const PLACES = ['top left', 'top right', 'bottom left', 'bottom right'] as const
export const EDIT_KINDS = ['recolour', 'remove', 'add', 'move'] as const

export interface Thing {
  shape: (typeof SHAPES)[number]
  colour: (typeof COLOURS)[number]
}

/** What lies at each of {@link PLACES}. */
export type Scene = readonly (Thing | null)[]

/** An instruction to edit a picture, and all that is known about it. */
export interface EditScene {
  /** What an image policy takes. */
  prompt: { image: RgbImage; prompt: string }
  kind: (typeof EDIT_KINDS)[number]
  /** The picture before. */
  image: RgbImage
  /** The picture that was asked for. */
  target: RgbImage
  /** 1 for each pixel that the edit may change. */
  mask: Uint8Array
  source: Scene
  expected: Scene
}

/** Side of a picture, and of a place in it, in pixels. */
const SIDE = 32
const CELL = SIDE / 2

/** Instructions on pictures of 32 × 32 pixels: two or three coloured shapes, each at one of four places; one is to be recoloured,
 * removed, added or moved. Instructions name a thing that is there once. The split is a hash of the picture before, the same for
 * every seed and size: what is test here is training data nowhere.
 * @param options.size instructions in all; a tenth each go to dev and test. They may repeat: there are 7,776 pictures.
 * @throws if `size` is not a whole number of at least 10 */
export function editScenes({ seed, size }: { seed: number; size: number }): Splits<EditScene> {
  const random = rng(seed)
  return drawSplits('editScenes', size, () => {
    const source = drawScene(random)
    const edit = drawEdit(source, random)
    return edit && { row: () => editScene(source, edit), text: source.map(nameOf).join() }
  })
}

export interface Edit {
  kind: EditScene['kind']
  instruction: string
  expected: Scene
}

/** Two or three things at different places. */
export function drawScene(random: Rng): Scene {
  const places = random.shuffle([0, 1, 2, 3]).slice(0, 2 + random.int(2))
  return PLACES.map((_, at) => (places.includes(at) ? drawThing(random) : null))
}

const drawThing = (random: Rng): Thing => ({ shape: random.pick(SHAPES), colour: random.pick(COLOURS) })

/** An edit of a kind drawn with equal odds; null if the things that it would name are there twice. */
export function drawEdit(scene: Scene, random: Rng): Edit | null {
  const kind = random.pick(EDIT_KINDS)
  const free = random.pick(PLACES.flatMap((_, at) => (scene[at] ? [] : [at])))
  const changed = (changes: Record<number, Thing | null>): Scene =>
    scene.map((thing, at) => (at in changes ? changes[at]! : thing))
  if (kind === 'add') {
    const thing = drawThing(random)
    return { kind, instruction: `add a ${called(thing)} at the ${PLACES[free]}`, expected: changed({ [free]: thing }) }
  }
  const at = random.pick(PLACES.flatMap((_, at) => (scene[at] ? [at] : [])))
  const thing = scene[at]!
  if (scene.filter(other => other && called(other) === called(thing)).length > 1) return null
  switch (kind) {
    case 'recolour': {
      const colour = random.pick(COLOURS.filter(c => c !== thing.colour))
      return {
        kind,
        instruction: `make the ${called(thing)} ${colour}`,
        expected: changed({ [at]: { ...thing, colour } }),
      }
    }
    case 'remove':
      return { kind, instruction: `remove the ${called(thing)}`, expected: changed({ [at]: null }) }
    case 'move':
      return {
        kind,
        instruction: `move the ${called(thing)} to the ${PLACES[free]}`,
        expected: changed({ [at]: null, [free]: thing }),
      }
  }
}

const called = ({ colour, shape }: Thing): string => `${colour} ${shape}`

export function editScene(source: Scene, { kind, instruction, expected }: Edit): EditScene {
  const image = renderScene(source)
  const mask = new Uint8Array(SIDE * SIDE)
  const same = PLACES.map((_, at) => nameOf(source[at]!) === nameOf(expected[at]!))
  for (let i = 0; i < mask.length; i++) mask[i] = same[placeOf(i)] ? 0 : 1
  const target = renderScene(expected)
  return { prompt: { image, prompt: instruction }, kind, image, target, mask, source, expected }
}

/** The place that a pixel lies in. */
const placeOf = (i: number): number => 2 * Math.floor(i / SIDE / CELL) + Math.floor((i % SIDE) / CELL)

/** A place's content as a word. */
export const nameOf = (thing: Thing | null): string => (thing ? called(thing) : 'nothing')

export function renderScene(scene: Scene): RgbImage {
  const data = new Uint8ClampedArray(SIDE * SIDE * 3)
  scene.forEach((thing, at) => {
    const cell = template(thing)
    for (let y = 0; y < CELL; y++) data.set(cell.subarray(y * CELL * 3, (y + 1) * CELL * 3), startOf(at, y))
  })
  return { width: SIDE, height: SIDE, data }
}

/** Index of the first value of a row of a place. */
const startOf = (at: number, y: number): number => ((Math.floor(at / 2) * CELL + y) * SIDE + (at % 2) * CELL) * 3

/** What a picture shows, by the nearest drawing of each place, and how far each is from it.
 * @returns `distances`: root mean square differences, of values in 0 … 1
 * @throws if the picture is not of 32 × 32 pixels */
export function readScene({ width, height, data }: RgbImage): { scene: Scene; distances: number[] } {
  if (width !== SIDE || height !== SIDE)
    throw new Error(
      `readScene: the picture is ${width} × ${height}, needed ${SIDE} × ${SIDE} as editScenes draws them.`,
    )
  const found = PLACES.map((_, at) => {
    const squares = THINGS.map(thing => {
      const cell = template(thing)
      let sum = 0
      for (let y = 0; y < CELL; y++)
        for (let i = 0, from = startOf(at, y); i < CELL * 3; i++)
          sum += (data[from + i]! - cell[y * CELL * 3 + i]!) ** 2
      return sum
    })
    const best = squares.indexOf(Math.min(...squares))
    return { thing: THINGS[best]!, distance: Math.sqrt(squares[best]! / (CELL * CELL * 3)) / 255 }
  })
  return { scene: found.map(({ thing }) => thing), distances: found.map(({ distance }) => distance) }
}

/** All that a place can hold. */
const THINGS: readonly (Thing | null)[] = [null, ...SHAPES.flatMap(shape => COLOURS.map(colour => ({ shape, colour })))]

const RGB: Record<Thing['colour'], readonly [number, number, number]> = {
  red: [220, 50, 47],
  green: [50, 160, 70],
  blue: [45, 90, 210],
  yellow: [240, 190, 30],
}
const BACKGROUND = [235, 235, 235] as const
const SAMPLES = 4 // a side of a pixel, for smooth edges
const templates = new Map<string, Uint8ClampedArray>()

/** A place's drawing, 16 × 16 × 3. */
function template(thing: Thing | null): Uint8ClampedArray {
  const name = nameOf(thing)
  const known = templates.get(name)
  if (known) return known
  const cell = new Uint8ClampedArray(CELL * CELL * 3)
  for (let i = 0; i < CELL * CELL; i++) {
    const covered = thing ? coverage(thing.shape, i % CELL, Math.floor(i / CELL)) : 0
    for (let c = 0; c < 3; c++) {
      const [back, front] = [BACKGROUND[c]!, thing ? RGB[thing.colour][c]! : 0]
      cell[3 * i + c] = Math.round(back + (front - back) * covered)
    }
  }
  templates.set(name, cell)
  return cell
}

/** The part of a pixel that a shape covers. */
function coverage(shape: Thing['shape'], x: number, y: number): number {
  let inside = 0
  for (let i = 0; i < SAMPLES * SAMPLES; i++) {
    const u = x + ((i % SAMPLES) + 0.5) / SAMPLES - CELL / 2
    const v = y + (Math.floor(i / SAMPLES) + 0.5) / SAMPLES - CELL / 2
    if (covers[shape](u, v)) inside++
  }
  return inside / (SAMPLES * SAMPLES)
}

/** Whether a shape covers a point, in pixels from the middle of its place. */
const covers: Record<Thing['shape'], (x: number, y: number) => boolean> = {
  circle: (x, y) => Math.hypot(x, y) < 6,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 5,
  triangle: (x, y) => y < 5 && y > -6 && Math.abs(x) < ((y + 6) / 11) * 6.5,
}
