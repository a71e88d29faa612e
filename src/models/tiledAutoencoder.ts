import * as tf from '@tensorflow/tfjs-core'
import { astype, dynamicSlice, dynamicUpdateSlice, scan, typeOf } from '../xla/index.js'
import type { AutoencoderKl } from './autoencoderKl.js'

/** An autoencoder that never sees more of an image than a tile, for less memory: overlapping tiles one after the other in a loop of one
 * program, blended where they overlap. Norms and attention of a tile know nothing of the others, so that values differ a little from
 * those of the whole. (diffusers' tiles lie elsewhere: its last ones are smaller.)
 * @param side of a tile in pixels; images up to this size are not divided
 * @throws Error if the tiles' overlap, a quarter, is not whole latents */
export function tiledAutoencoder(vae: AutoencoderKl, side: number): AutoencoderKl {
  const { block_out_channels, out_channels, latent_channels } = vae.config
  const factor = 2 ** (block_out_channels.length - 1)
  if (!Number.isInteger(side) || side < 1 || side % (4 * factor) !== 0)
    throw new Error(`tiledAutoencoder: tiles of ${side} pixels, needed a multiple of ${4 * factor}. 512 is usual.`)
  return {
    ...vae,
    encode(weights, sample) {
      const moments = tiled(sample, side, { scale: 1 / factor, channels: 2 * latent_channels }, tile => {
        const { mean, logvar } = vae.encode(weights, tile)
        return tf.concat([mean, logvar], 1)
      })
      const [mean, logvar] = tf.split(moments, 2, 1) as [tf.Tensor, tf.Tensor]
      return { mean, logvar }
    },
    decode: (weights, latents) =>
      tiled(latents, side / factor, { scale: factor, channels: out_channels }, tile => vae.decode(weights, tile)),
  }
}

/** A map of images that is applied to overlapping tiles. Each place of the result is a mean of the tiles over it, which count the
 * less the nearer their edge is.
 * @param x [B, C, H, W]
 * @param side of a tile in x, a multiple of 4
 * @param result its size over that of x, and its channels
 * @returns [B, channels, scale·H, scale·W] in x's type */
export function tiled(
  x: tf.Tensor,
  side: number,
  { scale, channels }: { scale: number; channels: number },
  map: (tile: tf.Tensor) => tf.Tensor,
): tf.Tensor {
  const [b, c, height, width] = x.shape as [number, number, number, number]
  if (height <= side && width <= side) return map(x)
  const [rows, columns] = [tilesAlong(height, side, scale), tilesAlong(width, side, scale)]
  const tiles = rows.starts.flatMap(row => columns.starts.map(column => [row, column]))
  const at = (i: number) => tf.tensor1d(tiles.map(tile => tile[i]!), 'int32') // prettier-ignore
  const weight = tf.mul(tf.expandDims(rows.weight, 1), columns.weight) // [scale·h, scale·w] of a tile

  const add = (sum: tf.Tensor, { row, column }: { row: tf.Tensor; column: tf.Tensor }): [tf.Tensor, null] => {
    const made = map(dynamicSlice(x, [0, 0, row, column], [b, c, rows.size, columns.size]))
    const there = [0, 0, ...[row, column].map(start => tf.cast(tf.mul(start, scale), 'int32'))]
    const before = dynamicSlice(sum, there, made.shape)
    return [dynamicUpdateSlice(sum, tf.add(before, tf.mul(astype(made, 'f32'), weight)), there), null]
  }
  const [sum] = scan(add, tf.zeros([b, channels, height * scale, width * scale]), { row: at(0), column: at(1) })
  return astype(tf.div(sum, tf.mul(tf.expandDims(rows.total, 1), columns.total)), typeOf(x))
}

/** Where tiles begin along an axis, a quarter of each over the next and the last one at the end; the weight of a tile's places in the
 * result, and the sum of the weights at each place. */
function tilesAlong(length: number, side: number, scale: number) {
  const size = Math.min(side, length)
  const starts: number[] = []
  for (let start = 0; start + size < length; start += (3 * side) / 4) starts.push(start)
  starts.push(length - size)
  const [n, ramp] = [size * scale, (side * scale) / 4]
  const weight = Float32Array.from({ length: n }, (_, i) => Math.min(i + 1, n - i, ramp) / ramp)
  const total = new Float32Array(length * scale)
  for (const start of starts) weight.forEach((w, i) => (total[start * scale + i]! += w))
  return { size, starts, weight: tf.tensor1d(weight), total: tf.tensor1d(total) }
}
