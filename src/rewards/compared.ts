import * as tf from '@tensorflow/tfjs-core'
import { imagesToTensor, isRgbImage, type RgbImage } from '../io/images.js'
import type { SimilarityOptions } from '../metrics/structuralSimilarity.js'
import { disposeTree, jit } from '../xla/index.js'
import type { Reward } from './reward.js'
import { scorePictures } from './scorePictures.js'

const LEVELS = 255

/** A reward that compares the completion with the picture in a column; on the pixels where the column `mask` is 0, if asked for
 * and there is one (a value of `Uint8Array`, one a pixel: 1 where an edit may change it).
 * @param measure of tensors [B, H, W, 3], to [B]; NaN where nothing can be compared, which scores null
 * @throws naming the row whose column holds no picture, one of another size, or a mask that does not fit */
export function compared(
  name: string,
  column: string,
  measure: (x: tf.Tensor, y: tf.Tensor, options: SimilarityOptions) => tf.Tensor,
  { unmasked = false } = {},
): Reward {
  const program = jit(
    (x: tf.Tensor, y: tf.Tensor, mask?: tf.Tensor) => {
      const levels = (t: tf.Tensor) => tf.round(tf.mul(t, LEVELS))
      return measure(levels(x), levels(y), { data_range: LEVELS, mask })
    },
    { name },
  )
  return batch => {
    const masks = unmasked && batch['mask'] !== undefined
    return scorePictures(name, batch, masks ? [column, 'mask'] : [column], async rows => {
      const { width, height } = rows[0]!.image
      const other = imagesToTensor(rows.map(({ values }) => fitting(values[0], `${name}: column "${column}"`, width, height))) // prettier-ignore
      const inputs = [imagesToTensor(rows.map(({ image }) => image)), other] as const
      const mask = masks ? countedPixels(rows.map(({ values }) => values[1]), name, width, height) : undefined // prettier-ignore
      const measured = await (mask ? program.async(...inputs, mask) : program.async(...inputs))
      const scores = Array.from(await measured.data(), x => (Number.isNaN(x) ? null : x))
      disposeTree([...inputs, ...(mask ? [mask] : []), measured])
      return scores
    })
  }
}

function fitting(value: unknown, where: string, width: number, height: number): RgbImage {
  if (!isRgbImage(value)) throw new Error(`${where} holds no picture. Read it with readImage.`)
  if (value.width !== width || value.height !== height)
    throw new Error(
      `${where} is ${value.width} × ${value.height}, the completion ${width} × ${height}. Resize one of them.`,
    )
  return value
}

/** @returns [B, H, W, 1], 1 where the mask is 0 */
function countedPixels(masks: readonly unknown[], name: string, width: number, height: number): tf.Tensor {
  const size = width * height
  const values = new Float32Array(masks.length * size)
  masks.forEach((mask, row) => {
    if (!(mask instanceof Uint8Array) || mask.length !== size)
      throw new Error(
        `${name}: column "mask" holds ${mask instanceof Uint8Array ? `${mask.length} values` : typeof mask}, needed a Uint8Array of ${size} (${width} × ${height}).`,
      )
    for (let i = 0; i < size; i++) values[row * size + i] = mask[i] === 0 ? 1 : 0
  })
  return tf.tensor4d(values, [masks.length, height, width, 1])
}
