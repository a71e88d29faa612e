import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { editScenes, readImage, rng, type RgbImage, type Rng } from '../../src/datasets/index.js'
import { packageRoot } from '../../src/xla/index.js'

/** Pictures kept for the test of quality models: never trained on. */
const HELD_OUT = /^(?:chelsea|camera|gravel)-/
/** Pieces of pictures among those drawn. */
const PICTURE_SHARE = 0.2

/** Pictures without faults: generated ones, and pieces of those in data/pictures, turned and mirrored.
 *
 * Generated ones are shapes, strokes, textures and gradients of many colours on a background near grey that is softly shaded, in
 * one of twenty cases plain. Exposure and colour balance can only be judged where such a background is usual.
 * @param options.edits share of pictures of editScenes. They are flat with hard edges, where some faults cannot be seen: banding
 *   gives a flat area another colour
 * @param split no picture of data/pictures and no seed of one appears in the other */
export async function qualityScenes(
  split: 'train' | 'test',
  { size, count, seed, edits = 0 }: { size: number; count: number; seed: number; edits?: number },
): Promise<RgbImage[]> {
  const folder = join(packageRoot(), 'data/pictures')
  const names = (await readdir(folder)).filter(name => name.endsWith('.png') && HELD_OUT.test(name) === (split === 'test')) // prettier-ignore
  const pictures = await Promise.all(names.sort().map(name => readImage(join(folder, name))))
  const scenes = editScenes({ seed, size: 1000 }).train
  return Array.from({ length: count }, (_, i) => {
    const random = rng(seed, split === 'train' ? 1 : 2, i)
    if (edits > 0 && random.uniform() < edits) return enlarged(random.pick(scenes).target, size)
    return random.uniform() < PICTURE_SHARE ? pieceOf(random.pick(pictures), size, random) : scene(size, random)
  })
}

type Color = readonly [red: number, green: number, blue: number] // 0 … 1
/** What lies at a place, both coordinates in 0 … 1, over what is below. */
type Layer = (x: number, y: number, below: Color) => Color

const SAMPLES = 3 // a side of a pixel, against jagged edges

function scene(size: number, random: Rng): RgbImage {
  const layers = [background(random), ...random.pick([shapes, shapes, strokes, texture])(random)]
  const data = new Uint8ClampedArray(size * size * 3)
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const sum = [0, 0, 0]
      for (let sample = 0; sample < SAMPLES ** 2; sample++) {
        const u = (x + ((sample % SAMPLES) + 0.5) / SAMPLES) / size
        const v = (y + (Math.floor(sample / SAMPLES) + 0.5) / SAMPLES) / size
        const color = layers.reduce<Color>((below, layer) => layer(u, v, below), [0, 0, 0])
        for (let c = 0; c < 3; c++) sum[c]! += color[c]!
      }
      for (let c = 0; c < 3; c++) data[(y * size + x) * 3 + c] = (sum[c]! / SAMPLES ** 2) * 255
    }
  return { width: size, height: size, data }
}

/** Near grey, of middle brightness; shaded along a line or around a point. */
function background(random: Rng): Layer {
  const grey = between(random, 0.5, 0.66)
  const tint = [0, 1, 2].map(() => grey + between(random, -0.05, 0.05))
  const depth = between(random, 0.35, 0.7)
  const angle = 2 * Math.PI * random.uniform()
  const [cx, cy] = [random.uniform(), random.uniform()]
  const round = random.uniform() < 0.4
  return (x, y) => {
    const along = round ? 0.5 - Math.hypot(x - cx, y - cy) : (x - 0.5) * Math.cos(angle) + (y - 0.5) * Math.sin(angle)
    return lit(tint as unknown as Color, depth * along)
  }
}

/** Flat or softly shaded figures, apart or overlapping. */
function shapes(random: Rng): Layer[] {
  return Array.from({ length: 2 + random.int(3) }, () => {
    const color = vivid(random)
    const [cx, cy] = [between(random, 0.15, 0.85), between(random, 0.15, 0.85)]
    const radius = between(random, 0.1, 0.26)
    const inside = random.pick(FIGURES)
    const turn = 2 * Math.PI * random.uniform()
    const shade = between(random, 0.2, 0.6)
    return (x, y, below) => {
      const [dx, dy] = [(x - cx) / radius, (y - cy) / radius]
      const u = dx * Math.cos(turn) + dy * Math.sin(turn)
      const v = dy * Math.cos(turn) - dx * Math.sin(turn)
      return inside(u, v) ? lit(color, shade * 0.5 * u) : below
    }
  })
}

/** Within the unit circle. */
const FIGURES: readonly ((u: number, v: number) => boolean)[] = [
  (u, v) => u * u + v * v < 0.8,
  (u, v) => Math.max(Math.abs(u), Math.abs(v)) < 0.75,
  (u, v) => v < 0.7 && v > 1.9 * Math.abs(u) - 0.9,
  (u, v) => Math.min(Math.abs(u), Math.abs(v)) < 0.25 && Math.max(Math.abs(u), Math.abs(v)) < 0.85,
]

/** Rows of short lines as of writing, dark or light. */
function strokes(random: Rng): Layer[] {
  const color = lit(vivid(random), random.pick([-0.5, -0.4, 0.4]))
  const width = between(random, 0.012, 0.03)
  const lines = Array.from({ length: 10 + random.int(16) }, (_, i) => {
    const [x, y] = [between(random, 0.08, 0.9), 0.12 + 0.19 * (i % 5)]
    return [x, y, x + between(random, -0.09, 0.09), y + between(random, -0.07, 0.07)] as const
  })
  return [(x, y, below) => (lines.some(line => distance(x, y, line) < width) ? color : below)]
}

function distance(x: number, y: number, [x1, y1, x2, y2]: readonly [number, number, number, number]): number {
  const [dx, dy] = [x2 - x1, y2 - y1]
  const t = Math.min(1, Math.max(0, ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy + 1e-9)))
  return Math.hypot(x - x1 - t * dx, y - y1 - t * dy)
}

/** Waves of brightness in several directions, and a figure before them. */
function texture(random: Rng): Layer[] {
  const waves = Array.from({ length: 3 + random.int(4) }, () => {
    const [frequency, angle, phase] = [2 * Math.PI * between(random, 1.5, 11), Math.PI * random.uniform(), 6.3 * random.uniform()] // prettier-ignore
    const height = between(random, 0.02, 0.09)
    return (x: number, y: number) => height * Math.sin(frequency * (x * Math.cos(angle) + y * Math.sin(angle)) + phase)
  })
  const waved: Layer = (x, y, below) => lit(below, waves.reduce((sum, wave) => sum + wave(x, y), 0)) // prettier-ignore
  return [waved, ...shapes(random).slice(0, 1)]
}

const lit = (color: Color, light: number): Color => [color[0] + light, color[1] + light, color[2] + light]

/** A saturated colour, neither black nor white. */
function vivid(random: Rng): Color {
  const hue = 2 * Math.PI * random.uniform()
  const [middle, chroma] = [between(random, 0.35, 0.65), between(random, 0.15, 0.35)]
  const channel = (k: number) => middle + chroma * Math.cos(hue + (k * 2 * Math.PI) / 3)
  return [channel(0), channel(1), channel(2)]
}

/** The nearest pixels at another size, which keep edges hard. */
function enlarged(image: RgbImage, size: number): RgbImage {
  const data = new Uint8ClampedArray(size * size * 3)
  for (let i = 0; i < size * size; i++) {
    const [x, y] = [i % size, Math.floor(i / size)].map(at => Math.floor((at * image.width) / size)) as [number, number]
    data.set(image.data.subarray((y * image.width + x) * 3, (y * image.width + x + 1) * 3), i * 3)
  }
  return { width: size, height: size, data }
}

/** A square piece, mirrored and turned by chance. */
function pieceOf(picture: RgbImage, size: number, random: Rng): RgbImage {
  const [left, top] = [random.int(picture.width - size + 1), random.int(picture.height - size + 1)]
  const [mirrored, turned] = [random.int(2) === 1, random.int(2) === 1]
  const data = new Uint8ClampedArray(size * size * 3)
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const [u, v] = turned ? [y, x] : [x, y]
      const from = ((top + v) * picture.width + left + (mirrored ? size - 1 - u : u)) * 3
      data.set(picture.data.subarray(from, from + 3), (y * size + x) * 3)
    }
  return { width: size, height: size, data }
}

const between = (random: Rng, low: number, high: number): number => low + (high - low) * random.uniform()
