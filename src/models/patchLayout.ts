import * as tf from '@tensorflow/tfjs-core'
import { loadQwen2VlProcessor } from '../io/qwen2VlProcessor.js'
import type { Grid } from '../io/visionProcessor.js'
import { IMAGE, VIDEO, sizeClass, unitsAt, type Seen, type Sight, type Vision } from './vision.js'

/* Pictures of any size as patches, whose numbers in time, down and across are a grid. What follows from grids is worked out here. Letters: S
 * patches, M = S / merge² units of neighbouring patches, each of which is one token; N layouts. */

/** How a model lays out patches. */
export interface PatchLayout {
  readonly image_token_id: number
  readonly video_token_id: number
  readonly spatial_merge_size: number
  /** Side of a window of attention, in units. */
  readonly window: number
  /** Positions a second of video has. */
  readonly tokens_per_second: number
  /** Numbers in a patch. */
  readonly patch: number
}

/** Patches of pictures and videos, window by window, padded to S. */
export type Patches = {
  values: tf.Tensor // [N, S, numbers in a patch]
  positions: tf.Tensor // [N, 2, S] int32, rows and columns
  windows: tf.Tensor // [N, S] int32: patches of a window have the same number,
  frames: tf.Tensor // [N, S] int32: and those of a frame
}

/** All but `see` of a model whose pictures are patches in grids. */
export const patchVision = (layout: PatchLayout): PatchLayout & Omit<Vision, 'see'> => ({
  ...layout,

  async processor(dir, tokenizer) {
    const processor = await loadQwen2VlProcessor(dir)
    const mark = (id: number) => tokenizer.decode([id], { specials: true })
    const marks = { image: mark(layout.image_token_id), video: mark(layout.video_token_id) }
    const units = ([t, h, w]: Grid) => (t * h * w) / layout.spatial_merge_size ** 2
    return {
      marks,
      image(image) {
        const rows = processor.image(image)
        return { ...rows, text: marks.image.repeat(units(rows.grid)) }
      },
      video(video) {
        const rows = processor.video(video)
        return { ...rows, text: marks.video.repeat(units(rows.grid)) }
      },
    }
  },

  look({ ids, mask, T }, sights, types) {
    const counted = types && ropeIndex(layout, types, mask, T, allOf(sights))
    return {
      seen: seenBy(layout, ids, T, sights),
      ...(counted && {
        position_ids: tf.tensor3d(counted.positions, [ids.length / T, 3, T], 'int32'),
        next: tf.tensor1d(counted.next, 'int32'),
      }),
    }
  },

  types: 'mm_token_type_ids',
  inputs: {
    mm_token_type_ids: { type: 'int32', shape: ['rows', 'tokens'], optional: true },
    position_ids: { type: 'int32', shape: [3, 'rows', 'tokens'], optional: true },
    pixel_values: { type: 'float32', shape: ['patches', layout.patch], optional: true },
    image_grid_thw: { type: 'int32', shape: ['images', 3], optional: true },
    pixel_values_videos: { type: 'float32', shape: ['patches of videos', layout.patch], optional: true },
    video_grid_thw: { type: 'int32', shape: ['videos', 3], optional: true },
    second_per_grid_ts: { type: 'float32', shape: ['videos'], optional: true },
  },
  sightOf,
})

/** Lays out the patches of a batch and finds the tokens that stand for them.
 * @param ids [B, T] row by row
 * @param T tokens a row
 * @param sights what all rows see together, or what each does
 * @throws Error if the tokens are not as many as the pictures make */
export function seenBy(
  layout: PatchLayout,
  ids: ArrayLike<number>,
  T: number,
  sights: readonly Sight[],
): Seen & { patches: Patches } {
  const merged = layout.spatial_merge_size ** 2
  const plans = sights.map(({ images, videos }) => windowOrder([...images.grids, ...videos.grids], layout))
  const [N, M] = [plans.length, sizeClass(Math.max(...plans.map(({ order }) => order.length)))]
  const S = M * merged
  const values = new Float32Array(N * S * layout.patch)
  const kinds = plans.map(({ order }, n) => {
    const { images, videos } = sights[n]!
    const unitSize = merged * layout.patch
    const ofImages = images.patches.length / unitSize // units
    const rowOf = new Int32Array(order.length)
    order.forEach((unit, row) => {
      rowOf[unit] = row
      const [from, at] = unit < ofImages ? [images.patches, unit] : [videos.patches, unit - ofImages]
      values.set(from.subarray(at * unitSize, (at + 1) * unitSize), (n * M + row) * unitSize)
    })
    return [
      { id: layout.image_token_id, what: 'images', units: rowOf.subarray(0, ofImages) },
      { id: layout.video_token_id, what: 'videos', units: rowOf.subarray(ofImages) },
    ]
  })
  const padded = (x: readonly number[], fill: number) => Array.from({ length: S }, (_, i) => x[i] ?? fill)
  const rows = (all: number[][]) => tf.tensor2d(all, [N, S], 'int32')
  return {
    patches: {
      values: tf.tensor3d(values, [N, S, layout.patch]),
      positions: tf.tensor3d(
        plans.map(({ rows, columns }) => [padded(rows, 0), padded(columns, 0)]),
        [N, 2, S],
        'int32',
      ),
      windows: rows(plans.map(({ windows }) => padded(windows, -1))), // what pads is a window, and a frame, of its own
      frames: rows(plans.map(({ frames }) => padded(frames, -1))),
    },
    units: unitsAt(ids, T, kinds),
  }
}

/** The order in which units lie window by window, and of each patch in that order its row and column, window and frame.
 * @source transformers 5.23, vision_utils.py */
export function windowOrder(grids: readonly Grid[], { spatial_merge_size: merge, window }: PatchLayout) {
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

/** Sizes of what is seen. */
interface Grids {
  images: Pick<Sight['images'], 'grids'>
  videos: Pick<Sight['videos'], 'grids' | 'seconds'>
}

const allOf = (sights: readonly Sight[]): Grids => ({
  images: { grids: sights.flatMap(({ images }) => images.grids) },
  videos: {
    grids: sights.flatMap(({ videos }) => videos.grids),
    seconds: sights.flatMap(({ videos }) => videos.seconds),
  },
})

/** Time, row and column of each token: the three are equal for text; a picture's count on from the token before it, and text after it from
 * the larger of its height and width. A video's times follow its clock.
 * @param types [B, T] row by row: 0 text, 1 image, 2 video
 * @param mask [B, T], 0 where there is padding
 * @returns positions [B, 3, T], 0 in padding; the position of a text that follows each row
 * @throws Error naming a row whose tokens do not fit its pictures
 * @source transformers 5.23, Qwen2_5_VLModel.get_rope_index. Version 4 lets text count on from the largest of all three, and truncates the
 * seconds of a video's grid. */
export function ropeIndex(
  layout: PatchLayout,
  types: ArrayLike<number>,
  mask: ArrayLike<number>,
  T: number,
  { images, videos }: Grids,
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
      const [high, wide] = [h / layout.spatial_merge_size, w / layout.spatial_merge_size]
      if (length !== t * high * wide)
        throw new Error(
          `row ${b}: ${length} tokens of ${type === IMAGE ? 'an image' : 'a video'} stand together, its grid makes ${t * high * wide}. ` +
            'Expand the mark to as many, and put text between two.',
        )
      const interval =
        type === VIDEO ? Math.fround(layout.tokens_per_second * Math.fround(seconds.next().value ?? 1)) : 1
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

/** @throws Error if patches and grids do not go together */
async function sightOf(inputs: Record<string, tf.Tensor>): Promise<Sight> {
  const part = async (values: string, grid: string) => {
    const [pixels, sizes] = [inputs[values], inputs[grid]]
    if (!pixels !== !sizes)
      throw new Error(`${pixels ? values : grid} is there without ${pixels ? grid : values}. Give both.`)
    const numbers = sizes ? await sizes.data() : []
    const grids = Array.from({ length: numbers.length / 3 }, (_, i): Grid => [
      numbers[3 * i]!,
      numbers[3 * i + 1]!,
      numbers[3 * i + 2]!,
    ])
    const needed = grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0)
    if (needed !== (pixels?.shape[0] ?? 0))
      throw new Error(
        `${values} has ${pixels?.shape[0]} patches, ${grid} says ${needed}. Give those that belong together.`,
      )
    return { patches: pixels ? ((await pixels.data()) as Float32Array) : new Float32Array(0), grids }
  }
  const seconds = inputs['second_per_grid_ts']
  return {
    images: await part('pixel_values', 'image_grid_thw'),
    videos: {
      ...(await part('pixel_values_videos', 'video_grid_thw')),
      seconds: seconds ? [...(await seconds.data())] : [],
    },
  }
}
