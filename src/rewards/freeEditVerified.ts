import type { FreeScene, FreeThing } from '../datasets/freeScenes.js'
import { LIGHTS, SIZES } from '../datasets/freeScenes.js'
import { readFreeScene, type FoundScene, type FoundThing } from '../datasets/readFreeScene.js'
import { isRgbImage } from '../io/images.js'
import { readColumn, type Reward } from './reward.js'

/** How far a middle or a side may be off, in pixels: half of what an instruction changes at least. */
const OFF = 4
/** How far the background's grey may be off, in grey levels; lights are 45 apart. */
const LIGHT_OFF = 15
/** Outlines steeper than this are sharp: sharp ones drawn have 0.6 … 1, blurred ones at most 0.25. */
const SHARP = 0.4
/** A background that varies less than this is free of noise, in grey levels; noisy ones drawn vary by 8 at least. */
const NOISY = 6

/** Whether an edit of a data set of freeScenes was done, as a program that reads the picture finds: 1 if it shows the things of the column
 * `expected` and no others, each of the right shape and colour with middle and sides within 4 pixels, in the right light (within 15 grey
 * levels), with sharp outlines and without noise; else 0.
 * @param options.partial this part of the score is not all or nothing: the share of what the edit should change (things that come, things
 *   that go, the light, sharpness, noise) that is as it should be. Default 0
 * @throws naming the row whose completion is no picture of freeScenes' size, or a missing column */
export function freeEditVerified({ partial = 0 }: { partial?: number } = {}): Reward {
  if (!(partial >= 0 && partial <= 1)) throw new Error(`freeEditVerified: partial is ${partial}, needed 0 … 1.`)
  return batch => {
    const [sources, expected] = ['source', 'expected'].map(column => readColumn('freeEditVerified', batch, column))
    return batch.completions.map((completion, row) => {
      if (!isRgbImage(completion))
        throw new Error(`freeEditVerified, row ${row}: the completion is text, needed a picture.`)
      const found = readFreeScene(completion)
      const asked = expected![row] as FreeScene
      const changes = changesOf(found, sources![row] as FreeScene, asked)
      const share = changes.filter(Boolean).length / changes.length
      return (1 - partial) * Number(shows(found, asked)) + partial * share
    })
  }
}

function shows(found: FoundScene, { things, light }: FreeScene): boolean {
  const all = found.things.length === things.length && things.every(thing => found.things.some(seen => same(seen, thing))) // prettier-ignore
  return all && isLit(found, light) && isSharp(found) && isClean(found)
}

/** Of all that the edit should change, whether it is as it should be. */
function changesOf(found: FoundScene, source: FreeScene, expected: FreeScene): boolean[] {
  const there = (thing: FreeThing) => found.things.some(seen => same(seen, thing))
  const come = expected.things.filter(thing => !source.things.includes(thing))
  const gone = source.things.filter(thing => !expected.things.includes(thing))
  return [
    ...come.map(there),
    ...gone.map(thing => !there(thing)),
    ...(source.light === expected.light ? [] : [isLit(found, expected.light)]),
    ...(source.fault === 'blur' ? [isSharp(found)] : []),
    ...(source.fault === 'noise' ? [isClean(found)] : []),
  ]
}

function same(found: FoundThing, { shape, colour, size, x, y }: FreeThing): boolean {
  const near = [found.x - x, found.y - y, found.width - SIZES[size], found.height - SIZES[size]]
  return found.shape === shape && found.colour === colour && near.every(d => Math.abs(d) < OFF)
}

const isLit = (found: FoundScene, light: FreeScene['light']) => Math.abs(found.light - LIGHTS[light]) < LIGHT_OFF
const isSharp = (found: FoundScene) => found.things.length === 0 || found.steepness > SHARP
const isClean = (found: FoundScene) => found.noise < NOISY
