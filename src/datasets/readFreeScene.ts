import type { RgbImage } from '../io/images.js'
import { COLOURS, type Thing } from './editScenes.js'
import { FREE_SIDE, GROUND, PAINT } from './freeScenes.js'

/** A thing that was found: the box it fills, in pixels; x and y are the box's middle. */
export interface FoundThing extends Thing {
  x: number
  y: number
  width: number
  height: number
}

/** What a picture shows. */
export interface FoundScene {
  things: FoundThing[]
  /** Grey levels by which the background is lighter than in normal light. */
  light: number
  /** Steepness of outlines: of the step from a thing's colour to the background's, the part between two neighbouring pixels, on
   * average; NaN without things. */
  steepness: number
  /** Median absolute deviation of the background, in grey levels. */
  noise: number
}

const APART = 60 // pixels whose colour is this far from the background's belong to a thing; colours drawn are 125 … 175 apart
const LEAST = 16 // pixels of a thing; smaller spots are not counted
const FILL = { square: 0.9, circle: 0.65 } // least part of its box that a shape fills; drawn ones fill 1, 0.79 and 0.5

/** Reads a picture as {@link freeScenes} draws them, without knowing what it should show: the background is the median; connected pixels
 * that differ from it are a thing; its colour is that nearest to their median, its shape follows from the part of its box that they fill.
 * @throws if the picture is not of 64 × 64 pixels */
export function readFreeScene({ width, height, data }: RgbImage): FoundScene {
  if (width !== FREE_SIDE || height !== FREE_SIDE)
    throw new Error(
      `readFreeScene: the picture is ${width} × ${height}, needed ${FREE_SIDE} × ${FREE_SIDE} as freeScenes draws them.`,
    )
  const at = (pixel: number): Rgb => [data[3 * pixel]!, data[3 * pixel + 1]!, data[3 * pixel + 2]!]
  const pixels = Array.from({ length: FREE_SIDE * FREE_SIDE }, (_, pixel) => at(pixel))
  const ground = medianColour(pixels)
  const light = sum(ground) / 3 - GROUND
  const differs = pixels.map(colour => distance(colour, ground) > APART)
  const parts = connected(differs).filter(part => part.length >= LEAST)
  const colours = parts.map(part => medianColour(part.map(at)))
  const things = parts.map((part, i) => ({ ...outline(part), colour: nameOf(colours[i]!, light) }))
  const steps = parts.flatMap((part, i) =>
    edges(part).map(([inner, outer]) => distance(at(inner), at(outer)) / distance(colours[i]!, ground)),
  )
  const rest = pixels.filter((_, pixel) => !differs[pixel]).map(sum)
  const middle = median(rest)
  return {
    things,
    light,
    steepness: steps.reduce((a, b) => a + b, 0) / steps.length,
    noise: median(rest.map(level => Math.abs(level - middle))) / 3,
  }
}

type Rgb = [number, number, number]

const sum = ([r, g, b]: Rgb): number => r + g + b

const distance = (a: Rgb, b: readonly [number, number, number]): number =>
  Math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)

/** Of whole numbers from 0 to 765: the upper of the two in the middle, where there is an even number of them. */
function median(values: readonly number[]): number {
  const counts = new Uint32Array(766)
  for (const value of values) counts[value]!++
  let before = values.length >> 1
  return values.length === 0 ? NaN : counts.findIndex(count => (before -= count) < 0)
}

const medianColour = (colours: readonly Rgb[]): Rgb => [0, 1, 2].map(c => median(colours.map(x => x[c]!))) as Rgb

function nameOf([r, g, b]: Rgb, light: number): Thing['colour'] {
  const far = (name: Thing['colour']) => distance([r - light, g - light, b - light], PAINT[name])
  return COLOURS.reduce((best, name) => (far(name) < far(best) ? name : best))
}

/** Pixels that are marked, in groups that touch at a side or a corner. */
function connected(marked: readonly boolean[]): number[][] {
  const left = [...marked]
  const groups: number[][] = []
  for (const first of left.keys()) {
    if (!left[first]) continue
    const group = [first]
    left[first] = false
    for (const pixel of group)
      // grows while it is gone through
      for (const touching of AROUND[pixel]!) {
        if (!left[touching]) continue
        left[touching] = false
        group.push(touching)
      }
    groups.push(group)
  }
  return groups
}

/** The pixels that touch each pixel at a side or a corner, and at a side. */
const AROUND = Array.from({ length: FREE_SIDE * FREE_SIDE }, (_, pixel) => near(pixel, 2))
const BESIDE = Array.from({ length: FREE_SIDE * FREE_SIDE }, (_, pixel) => near(pixel, 1))

/** Pixels within a squared distance. */
function near(pixel: number, square: number): number[] {
  const [x, y] = [pixel % FREE_SIDE, Math.floor(pixel / FREE_SIDE)]
  const inside = (side: number) => side >= 0 && side < FREE_SIDE
  const steps = [-1, 0, 1]
  return steps.flatMap(dy => steps.flatMap(dx => (dx * dx + dy * dy <= square && (dx || dy) && inside(x + dx) && inside(y + dy) ? [pixel + dy * FREE_SIDE + dx] : []))) // prettier-ignore
}

/** Pixels of the group, each with one beside it that is not. */
function edges(group: readonly number[]): [inner: number, outer: number][] {
  const within = new Set(group)
  return group.flatMap(inner => BESIDE[inner]!.filter(pixel => !within.has(pixel)).map((outer): [number, number] => [inner, outer])) // prettier-ignore
}

function outline(group: readonly number[]): Omit<FoundThing, 'colour'> {
  const [xs, ys] = [group.map(pixel => pixel % FREE_SIDE), group.map(pixel => Math.floor(pixel / FREE_SIDE))]
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs) + 1, Math.min(...ys), Math.max(...ys) + 1]
  const fill = group.length / ((right - left) * (bottom - top))
  return {
    shape: fill >= FILL.square ? 'square' : fill >= FILL.circle ? 'circle' : 'triangle',
    x: (left + right) / 2,
    y: (top + bottom) / 2,
    width: right - left,
    height: bottom - top,
  }
}
