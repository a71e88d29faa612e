import * as tf from '@tensorflow/tfjs-core'
import type { Fields } from '../io/json.js'
import { bestResolution, loadLlavaOnevisionProcessor, type Size } from '../io/llavaOnevisionProcessor.js'
import { joined } from '../io/pixelValues.js'
import { astype, typeOf } from '../xla/index.js'
import type { CausalModel, ModelOptions } from './causalModel.js'
import { llavaConfig, llavaFeatures, llavaParts, unitsOfTile, type LlavaConfig } from './llava.js'
import { sizeClass, unitsAt, type Sight, type Vision } from './vision.js'

/** Fields of config.json, under Hugging Face's names. */
export interface LlavaOnevisionConfig extends LlavaConfig {
  video_token_index: number
  /** Sizes of grids of tiles. */
  image_grid_pinpoints: readonly Size[]
  /** Of `vision_aspect_ratio`: a picture with features of more tiles than this is interpolated down. */
  anyresMax: number
}

/** Reads and checks a config.json of type llava_onevision.
 * @throws Error naming file and field for values that are missing, unsound, or ask for what is not supported */
export function llavaOnevisionConfig(fields: Fields): LlavaOnevisionConfig {
  const usual = { text: 'qwen2', vision: 'siglip_vision_model', layer: -1, strategy: 'full', image_token_index: 151646 }
  const config = llavaConfig(fields, usual)
  const { image_size } = config.vision.config
  const sides = [1, 2, 3, 4, 5, 6].map(n => n * 384)
  const pinpoints = fields.get('image_grid_pinpoints') ?? sides.flatMap(h => sides.map(w => [h, w]))
  const sound = (size: unknown) =>
    Array.isArray(size) && size.length === 2 && size.every(x => x > 0 && x % image_size === 0)
  if (!Array.isArray(pinpoints) || pinpoints.length === 0 || !pinpoints.every(sound))
    fields.fail('image_grid_pinpoints', `heights and widths that are multiples of ${image_size}, the size of a tile`)
  const most = /^anyres_max_(\d+)$/.exec(fields.text('vision_aspect_ratio', 'anyres_max_9'))?.[1]
  if (most === undefined) fields.fail('vision_aspect_ratio', '"anyres_max_" and a number')
  if (unitsOfTile(config) !== sideOf(config) ** 2)
    fields.fail('vision_feature_select_strategy', 'one that leaves a feature a patch')
  return {
    ...config,
    video_token_index: fields.count('video_token_index', 151647),
    image_grid_pinpoints: pinpoints as Size[],
    anyresMax: Number(most),
  }
}

/** Patches of a side of a tile. */
const sideOf = ({ vision: { config } }: LlavaConfig): number => Math.floor(config.image_size / config.patch_size)

/** LlavaOnevisionForConditionalGeneration: LLaVA, which sees a picture whole and by the tiles of a grid that fits it, what pads the grid taken out
 * again, and of videos each frame with its features interpolated to half the side; `image_newline` ends rows, pictures and videos.
 * @source transformers 5.23, models/llava_onevision/modeling_llava_onevision.py; arXiv 2408.03326 */
export function llavaOnevision(config: LlavaOnevisionConfig, options?: ModelOptions): CausalModel {
  const parts = llavaParts(config, options)
  // A row among the embeddings of the language model, in whose part it therefore is: PEFT cannot keep it beside an adapter, where it is frozen.
  const newline = { name: 'model.image_newline', path: 'image_newline', shape: [config.text.config.hidden_size] }
  return {
    ...parts,
    architecture: 'LlavaOnevisionForConditionalGeneration',
    parameters: [...parts.parameters, newline],
    vision: llavaOnevisionVision(config, options),
  }
}

/** What a unit is summed from: places among a layout's features, 0 the newline, and the share of each. */
type Taps = readonly (readonly [place: number, share: number])[]

const NEWLINE: Taps = [[0, 1]]

/** The units of a picture of so many tiles: those of the whole, and if it has others, those of the grid row by row, each ended by a newline.
 * @param first place of its first feature
 * @param size of the picture in pixels */
export function imageUnits(config: LlavaOnevisionConfig, first: number, tiles: number, size: Size): Taps[] {
  const P = sideOf(config)
  const whole = Array.from({ length: P * P }, (_, i): Taps => [[first + i, 1]])
  if (tiles === 1) return [...whole, NEWLINE]
  const [gridHeight, gridWidth] = bestResolution(size, config.image_grid_pinpoints)
  const across = gridWidth / config.vision.config.image_size // tiles
  const [high, wide] = [(gridHeight / config.vision.config.image_size) * P, across * P] // features
  const { top, left } = margins(size, [high, wide])
  const [h, w] = [high - 2 * top, wide - 2 * left]
  const placeAt = (row: number, column: number): number => {
    const [y, x] = [row + top, column + left]
    const tile = 1 + Math.floor(y / P) * across + Math.floor(x / P)
    return first + tile * P * P + (y % P) * P + (x % P)
  }
  const ratio = Math.sqrt((h * w) / (config.anyresMax * P ** 2))
  const shrunk = (length: number) => Math.round((length - (length % ratio)) / ratio) // Python's length // ratio
  const [rows, columns] = ratio > 1.1 ? [shrunk(h), shrunk(w)] : [h, w]
  const grid = interpolated([h, w], [rows, columns], placeAt)
  return [...whole, ...grid.flatMap(row => [...row, NEWLINE])]
}

/** Rows and columns of features that only see what pads a picture in the middle of its grid.
 * @source transformers 5.23, unpad_image */
function margins([height, width]: Size, [high, wide]: Size): { top: number; left: number } {
  const whole = (x: number) => Math.trunc(Number(x.toFixed(7)))
  if (width / height > wide / high) return { top: Math.floor((high - whole(height * (wide / width))) / 2), left: 0 }
  return { top: 0, left: Math.floor((wide - whole(width * (high / height))) / 2) }
}

/** The units of a video: each frame's, of half the side, and a newline.
 * @param first place of its first feature */
export function videoUnits(config: LlavaOnevisionConfig, first: number, frames: number): Taps[] {
  const P = sideOf(config)
  const half = Math.ceil(P / 2)
  const units = Array.from({ length: frames }, (_, frame) =>
    interpolated([P, P], [half, half], (y, x) => first + frame * P * P + y * P + x).flat(),
  )
  return [...units.flat(), NEWLINE]
}

/** A grid of features at another size, as PyTorch's bilinear `interpolate` makes it (corners not aligned, no antialiasing). */
function interpolated(from: Size, to: Size, placeAt: (y: number, x: number) => number): Taps[][] {
  const taps = (from: number, to: number) =>
    Array.from({ length: to }, (_, i): Taps => {
      const at = Math.max(0, ((i + 0.5) * from) / to - 0.5)
      const [low, share] = [Math.floor(at), at - Math.floor(at)]
      return share === 0 ? [[low, 1]] : [[low, 1 - share], [Math.min(low + 1, from - 1), share]] // prettier-ignore
    })
  const columns = taps(from[1], to[1])
  return taps(from[0], to[0]).map(rows =>
    columns.map(columns =>
      rows.flatMap(([y, high]) => columns.map(([x, wide]) => [placeAt(y, x), high * wide] as const)),
    ),
  )
}

function llavaOnevisionVision(config: LlavaOnevisionConfig, options?: ModelOptions): Vision {
  const { image_size: side, num_channels } = config.vision.config
  const { image_token_index, video_token_index } = config
  const [size, perTile] = [num_channels * side ** 2, sideOf(config) ** 2]
  return {
    image_token_id: image_token_index,
    video_token_id: video_token_index,

    async processor(dir, tokenizer) {
      const process = await loadLlavaOnevisionProcessor(dir, config.image_grid_pinpoints)
      if (process.side !== side)
        throw new Error(`${dir}: pictures are made tiles of ${process.side} × ${process.side}, needed ${side} × ${side}, what the tower takes.`) // prettier-ignore
      const mark = (id: number) => tokenizer.decode([id], { specials: true })
      const [image, video] = [mark(image_token_index), mark(video_token_index)]
      return {
        marks: { image, video },
        image(picture, among = 1) {
          const { patches, tiles } = process.image(picture, among === 1)
          const { length } = imageUnits(config, 0, tiles, [picture.height, picture.width])
          return { patches, grid: [tiles, picture.height, picture.width], text: image.repeat(length) }
        },
        video({ frames, fps = 24 }) {
          const { length } = videoUnits(config, 0, frames.length)
          return { patches: process.video(frames), grid: [frames.length, side, side], text: video.repeat(length), seconds: 1 / fps } // prettier-ignore
        },
      }
    },

    look(rows, sights) {
      const layouts = sights.map(({ images, videos }) => {
        let next = 1 // place 0 is the newline's
        const units = (
          grids: Sight['images']['grids'],
          make: (first: number, grid: (typeof grids)[number]) => Taps[],
        ) =>
          grids.flatMap(grid => {
            const made = make(next, grid)
            next += grid[0] * perTile
            return made
          })
        const ofImages = units(images.grids, (first, [tiles, h, w]) => imageUnits(config, first, tiles, [h, w]))
        const ofVideos = units(videos.grids, (first, [frames]) => videoUnits(config, first, frames))
        return { ofImages, taps: [...ofImages, ...ofVideos], pixels: joined([images.patches, videos.patches]) }
      })
      const N = layouts.length
      const tiles = sizeClass(Math.max(...layouts.map(({ pixels }) => pixels.length / size)), 1)
      const units = sizeClass(Math.max(...layouts.map(({ taps }) => taps.length)))
      const K = Math.max(...layouts.flatMap(({ taps }) => taps.map(unit => unit.length))) > 1 ? 4 : 1
      const pixels = new Float32Array(N * tiles * size)
      const [places, shares] = [new Int32Array(N * units * K), new Float32Array(N * units * K)]
      layouts.forEach((layout, n) => {
        pixels.set(layout.pixels, n * tiles * size)
        layout.taps.forEach((unit, u) =>
          unit.forEach(([place, share], k) => {
            const at = (n * units + u) * K + k
            places[at] = place
            shares[at] = share
          }),
        )
      })
      const kinds = layouts.map(({ ofImages, taps }) => [
        { id: image_token_index, what: 'images', units: [...ofImages.keys()] },
        { id: video_token_index, what: 'videos', units: [...taps.keys()].slice(ofImages.length) },
      ])
      return {
        seen: {
          patches: {
            pixels: tf.tensor5d(pixels, [N, tiles, num_channels, side, side]),
            places: tf.tensor3d(places, [N, units, K], 'int32'),
            shares: tf.tensor3d(shares, [N, units, K]),
          },
          units: unitsAt(rows.ids, rows.T, kinds),
        },
      }
    },

    see(weights, { pixels, places, shares }) {
      const [N, tiles, ...one] = pixels!.shape as [number, number, number, number, number]
      const features = llavaFeatures(config, weights, tf.reshape(pixels!, [N * tiles, ...one]), options) // [N · tiles, perTile, C]
      const C = features.shape[2]!
      const newline = (weights as unknown as { image_newline: tf.Tensor }).image_newline // [C]
      const newlines = tf.tile(tf.reshape(newline, [1, 1, C]), [N, 1, 1])
      const all = tf.concat([newlines, tf.reshape(features, [N, tiles * perTile, C])], 1) // [N, 1 + tiles · perTile, C]
      const rows = all.shape[1]!
      const before = tf.reshape(tf.mul(tf.range(0, N, 1, 'int32'), tf.scalar(rows, 'int32')), [N, 1])
      const flat = tf.reshape(all, [N * rows, C])
      const given = astype(shares!, typeOf(flat))
      const parts = tf.unstack(places!, 2).map((place, k) => {
        const share = tf.slice(given, [0, 0, k], [-1, -1, 1]) // [N, M, 1]
        return tf.mul(tf.gather(flat, tf.add(place, before)), share) // [N, M, C]
      })
      return parts.reduce((sum, part) => tf.add(sum, part))
    },

    inputs: {
      pixel_values: { type: 'float32', shape: ['images', 'tiles', num_channels, side, side], optional: true },
      image_sizes: { type: 'int32', shape: ['images', 2], optional: true },
      batch_num_images: { type: 'int32', shape: ['rows with images'], optional: true },
      pixel_values_videos: { type: 'float32', shape: ['videos', 'frames', num_channels, side, side], optional: true },
    },

    async sightOf({ pixel_values, image_sizes, batch_num_images, pixel_values_videos }) {
      return {
        images: pixel_values ? await picturesOf(config, pixel_values, image_sizes, batch_num_images) : NOTHING,
        videos: { ...(pixel_values_videos ? await framesOf(pixel_values_videos) : NOTHING), seconds: [] },
      }
    },
  }
}

const NOTHING = { patches: new Float32Array(0), grids: [] }

/** Pictures whose tiles are padded to the same number. */
async function picturesOf(
  config: LlavaOnevisionConfig,
  pixel_values: tf.Tensor,
  image_sizes?: tf.Tensor,
  batch_num_images?: tf.Tensor,
): Promise<Sight['images']> {
  if (!image_sizes) throw new Error('pixel_values came without image_sizes. Give both.')
  const [count, most] = pixel_values.shape as [number, number]
  const [values, sizes] = [(await pixel_values.data()) as Float32Array, await image_sizes.data()]
  const together = batch_num_images ? Array.from(await batch_num_images.data()) : Array<number>(count).fill(1)
  const alone = together.flatMap(n => Array<boolean>(n).fill(n === 1))
  if (alone.length !== count)
    throw new Error(`batch_num_images sum up to ${alone.length}, and there are ${count} images. Make them agree.`)
  const { image_size } = config.vision.config
  const grids = alone.map((single, i) => {
    const size: Size = [sizes[2 * i]!, sizes[2 * i + 1]!]
    const [high, wide] = bestResolution(size, config.image_grid_pinpoints)
    return [single ? 1 + (high * wide) / image_size ** 2 : 1, ...size] as const
  })
  const [one, patches] = [values.length / count / most, grids.map(([tiles], i) => ({ tiles, from: i * most }))]
  const short = grids.find(([tiles]) => tiles > most)
  if (short)
    throw new Error(
      `pixel_values have ${most} tiles an image, and one of ${short[1]} × ${short[2]} pixels has ${short[0]}.`,
    )
  return { patches: joined(patches.map(({ tiles, from }) => values.subarray(from * one, (from + tiles) * one))), grids }
}

async function framesOf(pixel_values_videos: tf.Tensor): Promise<Sight['images']> {
  const [count, frames, , height, width] = pixel_values_videos.shape as [number, number, number, number, number]
  const grids = Array.from({ length: count }, () => [frames, height, width] as const)
  return { patches: (await pixel_values_videos.data()) as Float32Array, grids }
}
