import * as tf from '@tensorflow/tfjs-core'
import { IMAGE, sizeClass, unitsAt, type Rows, type Vision } from './vision.js'

/** How a model sees tiles of one size. */
export interface TileLayout {
  image_token_id: number
  num_channels: number
  /** Height and width in pixels. */
  image_size: number
  /** Tokens a tile. */
  units: number
  /** Whether the tokens of a picture see one another, also those behind them. */
  bidirectional?: boolean
}

/** All but `processor` and `see` of a model whose pictures are tiles of one size, each of which becomes as many tokens. */
export function tileVision(layout: TileLayout): Omit<Vision, 'processor' | 'see'> {
  const { image_token_id, num_channels, image_size: side, units, bidirectional } = layout
  const size = num_channels * side ** 2
  return {
    image_token_id,

    look(rows, sights, types) {
      const counts = sights.map(({ images }) => images.grids.reduce((sum, [tiles]) => sum + tiles, 0))
      const [N, most] = [sights.length, sizeClass(Math.max(...counts), 1)]
      const pixels = new Float32Array(N * most * size)
      sights.forEach(({ images }, n) => pixels.set(images.patches, n * most * size))
      const kinds = counts.map(tiles => [
        { id: image_token_id, what: 'images', units: Array.from({ length: tiles * units }, (_, unit) => unit) },
      ])
      return {
        seen: {
          patches: { pixels: tf.tensor5d(pixels, [N, most, num_channels, side, side]) },
          units: unitsAt(rows.ids, rows.T, kinds),
          ...(bidirectional && types && { blocks: blocksOf(rows, types) }),
        },
      }
    },

    ...(bidirectional && { types: 'token_type_ids' }),
    inputs: {
      ...(bidirectional && { token_type_ids: { type: 'int32', shape: ['rows', 'tokens'], optional: true } }),
      pixel_values: { type: 'float32', shape: ['tiles', num_channels, side, side], optional: true },
    },
    async sightOf({ pixel_values }) {
      const patches = pixel_values ? ((await pixel_values.data()) as Float32Array) : new Float32Array(0)
      const grids = Array.from({ length: pixel_values?.shape[0] ?? 0 }, () => [1, side, side] as const)
      return { images: { patches, grids }, videos: { patches: new Float32Array(0), grids: [], seconds: [] } }
    },
  }
}

/** Of each token which picture of its row it is of, counted from 1 [B, T] int32; 0 for text. */
function blocksOf({ T }: Rows, types: ArrayLike<number>): tf.Tensor {
  let block = 0
  const numbers = Int32Array.from(types, (type, i) => {
    if (type !== IMAGE) return 0
    if (i % T === 0 || types[i - 1] !== IMAGE) block++
    return block
  })
  return tf.tensor2d(numbers, [types.length / T, T], 'int32')
}

/** Names of a checkpoint of a model that sees, as transformers 5 calls its modules; files may have older ones. */
export const seeingName = (stored: string): string =>
  stored
    .replace(/^language_model\.lm_head\./, 'lm_head.')
    .replace(/^language_model\.model\./, 'model.language_model.')
    .replace(/^(vision_tower\.|multi_modal_projector\.|image_newline$)/, 'model.$1')
    .replace(/^model\.vision_tower\.vision_model\./, 'model.vision_tower.')
