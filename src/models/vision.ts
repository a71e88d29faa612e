import * as tf from '@tensorflow/tfjs-core'
import type { TensorTree } from '../xla/index.js'
import type { Features } from './causalModel.js'

/* What the host works out for a model that sees, so that its programs have static shapes: grids are numbers here, and what follows from them
 * goes into a program as tensors. Letters: S patches, M = S / merge² units of neighbouring patches, each of which is one token; N layouts, each
 * with patches of its own: one of all rows together, or one a row. */

/** Patches of a picture (t = 1) or a video: times, rows and columns, as `image_grid_thw` has them. */
export type Grid = readonly [t: number, h: number, w: number]

/** Pictures and videos of a batch, those of its first row first. */
export interface Sight {
  images: { patches: Float32Array; grids: readonly Grid[] }
  videos: {
    patches: Float32Array
    grids: readonly Grid[]
    /** Time between two rows of the grid. */ seconds: readonly number[]
  }
}

/** The part of a model that sees. */
export interface Vision {
  readonly image_token_id: number
  readonly video_token_id: number
  readonly spatial_merge_size: number
  /** Side of a window of attention, in units. */
  readonly window: number
  /** Positions a second of video has. */
  readonly tokens_per_second: number
  /** Numbers in a patch. */
  readonly patch: number
  /** Pure, differentiable in the weights, and may be called inside `jit`.
   * @returns a feature a unit [N, M, C] */
  see(weights: TensorTree, patches: Patches): tf.Tensor
}

/** The tower, and what connects it with the language model, such as Qwen's merger. */
export type VisionPart = 'vision_tower' | 'mm_projector'

/** Which of them a weight belongs to; undefined for the language model's.
 * @param path in the weight tree, where what sees lies under `visual` */
export function visionPartOf(path: string): VisionPart | undefined {
  if (/^visual\.(merger|multi_modal_projector)\./.test(path)) return 'mm_projector'
  return path.startsWith('visual.') ? 'vision_tower' : undefined
}

/** Patches of pictures and videos, window by window, padded to S. */
export type Patches = {
  values: tf.Tensor // [N, S, numbers in a patch]
  positions: tf.Tensor // [N, 2, S] int32, rows and columns
  windows: tf.Tensor // [N, S] int32: patches of a window have the same number,
  frames: tf.Tensor // [N, S] int32: and those of a frame
}

/** What a batch of rows sees: patches, and where their features go. */
export type Seen = {
  patches: Patches
  units: tf.Tensor // [B, T] int32, at which place of the layout's features + 1; 0 for text
}

/** Sizes in units that programs are compiled for: powers of 2 from 16, and the halves between. */
export function sizeClass(units: number): number {
  const power = 2 ** Math.ceil(Math.log2(Math.max(units, 16)))
  return units <= 0.75 * power ? 0.75 * power : power
}

/** Lays out the patches of a batch and finds the tokens that stand for them.
 * @param ids [B, T] row by row
 * @param T tokens a row
 * @param sights what all rows see together, or what each does
 * @throws Error if the tokens are not as many as the pictures make */
export function seenBy(vision: Vision, ids: ArrayLike<number>, T: number, sights: readonly Sight[]): Seen {
  const merged = vision.spatial_merge_size ** 2
  const plans = sights.map(({ images, videos }) => windowOrder([...images.grids, ...videos.grids], vision))
  const [N, M] = [plans.length, sizeClass(Math.max(...plans.map(({ order }) => order.length)))]
  const S = M * merged
  const values = new Float32Array(N * S * vision.patch)
  const units = new Int32Array(ids.length)
  plans.forEach(({ order }, n) => {
    const { images, videos } = sights[n]!
    const unitSize = merged * vision.patch
    const ofImages = images.patches.length / unitSize // units
    const rowOf = new Int32Array(order.length)
    order.forEach((unit, row) => {
      rowOf[unit] = row
      const [from, at] = unit < ofImages ? [images.patches, unit] : [videos.patches, unit - ofImages]
      values.set(from.subarray(at * unitSize, (at + 1) * unitSize), (n * M + row) * unitSize)
    })
    const next = { [vision.image_token_id]: 0, [vision.video_token_id]: ofImages }
    for (let i = (n * ids.length) / N; i < ((n + 1) * ids.length) / N; i++) {
      const unit = next[ids[i]!]
      if (unit === undefined) continue
      units[i] = (rowOf[unit] ?? -1) + 1
      next[ids[i]!]!++
    }
    const check = (what: string, found: number, needed: number) => {
      if (found !== needed)
        throw new Error(`${found} tokens stand for ${what}, whose patches make ${needed}. Expand each mark to as many.`)
    }
    check('images', next[vision.image_token_id]!, ofImages)
    check('videos', next[vision.video_token_id]! - ofImages, order.length - ofImages)
  })
  const padded = (x: readonly number[], fill: number) => Array.from({ length: S }, (_, i) => x[i] ?? fill)
  const rows = (all: number[][]) => tf.tensor2d(all, [N, S], 'int32')
  return {
    patches: {
      values: tf.tensor3d(values, [N, S, vision.patch]),
      positions: tf.tensor3d(
        plans.map(({ rows, columns }) => [padded(rows, 0), padded(columns, 0)]),
        [N, 2, S],
        'int32',
      ),
      windows: rows(plans.map(({ windows }) => padded(windows, -1))), // what pads is a window, and a frame, of its own
      frames: rows(plans.map(({ frames }) => padded(frames, -1))),
    },
    units: tf.tensor2d(units, [ids.length / T, T], 'int32'),
  }
}

/** Features at the tokens of rows: what `see` gives, where it belongs. Pure, and may be called inside `jit`. */
export function featuresOf(vision: Vision, weights: TensorTree, { patches, units }: Seen): Features {
  const all = vision.see(weights, patches) // [N, M, C]
  const [N, M, C] = all.shape as [number, number, number]
  const there = tf.cast(tf.greater(units, tf.scalar(0, 'int32')), 'int32') // [B, T]
  const before = tf.mul(tf.range(0, N, 1, 'int32'), tf.scalar(M, 'int32')) // units of the layouts before each [N]
  const places = tf.mul(there, tf.add(units, tf.expandDims(before, 1))) // [B, T], N = 1 or B
  const values = tf.gather(tf.pad(tf.reshape(all, [N * M, C]), [[1, 0], [0, 0]]), places) // prettier-ignore
  return { values, there }
}

/** The order in which units lie window by window, and of each patch in that order its row and column, window and frame.
 * @source transformers 5.23, vision_utils.py */
export function windowOrder(grids: readonly Grid[], { spatial_merge_size: merge, window }: Vision) {
  const order: number[] = []
  const rows: number[] = []
  const columns: number[] = []
  const windows: number[] = []
  const frames: number[] = []
  let [unit, windowId, frame] = [0, 0, 0]
  for (const [t, h, w] of grids) {
    const [high, wide] = [h / merge, w / merge]
    for (let time = 0; time < t; time++, frame++, unit += high * wide)
      for (let top = 0; top < high; top += window)
        for (let left = 0; left < wide; left += window, windowId++)
          for (let y = top; y < Math.min(top + window, high); y++)
            for (let x = left; x < Math.min(left + window, wide); x++) {
              order.push(unit + y * wide + x)
              for (let i = 0; i < merge ** 2; i++) {
                rows.push(y * merge + Math.floor(i / merge))
                columns.push(x * merge + (i % merge))
                windows.push(windowId)
                frames.push(frame)
              }
            }
  }
  return { order, rows, columns, windows, frames }
}

/** Kinds of token, as `mm_token_type_ids` has them. */
const IMAGE = 1
const VIDEO = 2

/** Time, row and column of each token: the three are equal for text; a picture's count on from the token before it, and text after it from
 * the larger of its height and width. A video's times follow its clock.
 * @param types [B, T] row by row: 0 text, 1 image, 2 video
 * @param mask [B, T], 0 where there is padding
 * @returns positions [B, 3, T], 0 in padding; the position of a text that follows each row
 * @throws Error naming a row whose tokens do not fit its pictures
 * @source transformers 5.23, Qwen2_5_VLModel.get_rope_index. Version 4 lets text count on from the largest of all three, and truncates the
 * seconds of a video's grid. */
export function ropeIndex(
  vision: Vision,
  types: ArrayLike<number>,
  mask: ArrayLike<number>,
  T: number,
  { images, videos }: Sight,
): { positions: Int32Array; next: number[] } {
  const B = types.length / T
  const positions = new Int32Array(B * 3 * T)
  const queues = { [IMAGE]: images.grids.values(), [VIDEO]: videos.grids.values() }
  const seconds = videos.seconds.values()
  const next = Array.from({ length: B }, (_, b) => {
    let at = 0
    const put = (place: number, ...coordinates: [number, number, number]) =>
      coordinates.forEach((value, axis) => (positions[(b * 3 + axis) * T + place] = value))
    const places = Array.from({ length: T }, (_, t) => t).filter(t => mask[b * T + t])
    for (let i = 0; i < places.length;) {
      const type = types[b * T + places[i]!]!
      if (type !== IMAGE && type !== VIDEO) {
        put(places[i++]!, at, at, at)
        at++
        continue
      }
      const grid = queues[type].next().value
      const run = places.slice(i).findIndex(place => types[b * T + place] !== type)
      const length = run < 0 ? places.length - i : run
      const [t, h, w] = grid ?? [0, 0, 0]
      const [high, wide] = [h / vision.spatial_merge_size, w / vision.spatial_merge_size]
      if (length !== t * high * wide)
        throw new Error(
          `row ${b}: ${length} tokens of ${type === IMAGE ? 'an image' : 'a video'} stand together, its grid makes ${t * high * wide}. ` +
            'Expand the mark to as many, and put text between two.',
        )
      const interval =
        type === VIDEO ? Math.fround(vision.tokens_per_second * Math.fround(seconds.next().value ?? 1)) : 1
      for (let time = 0; time < t; time++)
        for (let y = 0; y < high; y++)
          for (let x = 0; x < wide; x++)
            put(places[i++]!, at + Math.trunc(Math.fround(time * interval)), at + y, at + x)
      at += Math.max(high, wide)
    }
    return at
  })
  return { positions, next }
}

/** Of each token what it stands for, by its id. */
export const tokenTypes = (vision: Vision, ids: ArrayLike<number>): Int32Array =>
  Int32Array.from(ids, id => (id === vision.image_token_id ? IMAGE : id === vision.video_token_id ? VIDEO : 0))
