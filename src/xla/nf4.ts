import * as tf from '@tensorflow/tfjs-core'
import { backend, onXla } from './backend.js'
import { astype, typeOf } from './slices.js'
import type { ElementType } from './types.js'

/** A matrix [out, in] in 4 bits an entry, as bitsandbytes stores it: 64 values side by side share a scale, 256 scales, less
 * their mean, share another. About 0.52 bytes an entry. Two values lie in a byte of u8, which every device stores. */
export type Nf4 = {
  packed: tf.Tensor // u8 [out, in / 2]: indices of levels, the first in the high bits
  absmax: tf.Tensor // u8 [blocks], blocks = out·in / 64: indices of the dynamic map
  nested_absmax: tf.Tensor // f32 [⌈blocks / 256⌉]
  offset: tf.Tensor // f32 [], the mean of the scales
}

const BLOCK = 64
const NESTED_BLOCK = 256

/** Quantiles of the normal distribution, scaled to [−1, 1].
 * @source QLoRA, arXiv 2305.14314, appendix E; the digits are bitsandbytes' */
const LEVELS = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1,
)

/** 256 numbers in [−1, 1] with seven decades of exponent: the more digits, the larger the number.
 * @source bitsandbytes, create_dynamic_map; 8-bit approximations, arXiv 1511.04561. Rounded where torch rounds. */
const DYNAMIC_MAP = dynamicMap(true)

/** @param signed false: 256 numbers in [0, 1], each decade twice as fine */
export function dynamicMap(signed: boolean): Float32Array {
  const round = Math.fround
  const values = [0, 1]
  for (let decade = 0; decade < 7; decade++) {
    const parts = 2 ** (signed ? decade : decade + 1)
    const step = round(round(1 - round(0.1)) / parts)
    const edge = (i: number) => (i < (parts + 1) >> 1 ? round(round(0.1) + step * i) : round(1 - step * (parts - i)))
    for (let i = 0; i < parts; i++) {
      const mean = round(round(edge(i) + edge(i + 1)) / 2)
      const value = round(round(10 ** (decade - 6)) * mean)
      values.push(value)
      if (signed) values.push(-value)
    }
  }
  return Float32Array.from(values).sort()
}

/** Whether a weight is quantised. */
export const isNf4 = (weight: object): weight is Nf4 => 'packed' in weight

/** The matrix's size [out, in]. */
export const shapeOfNf4 = ({ packed }: Nf4): [out: number, size: number] => [packed.shape[0], 2 * packed.shape[1]!]

/** Quantises a matrix. Bytes are those of bitsandbytes on the same kind of device: its CPU kernel looks scales up in a table, its CUDA
 * kernel takes the nearest. The mean of the scales is a sum of float32: as in torch, where it depends on vector width and threads, its
 * last bit may be another, and with it that of `nested_absmax`.
 * @param x [out, in], in even and out·in a multiple of 64
 * @param device whose kernel to follow. Default the one that runs
 * @throws Error for other sizes, and on a stock backend
 * @source bitsandbytes 0.50, quantize_4bit with compress_statistics */
export function quantizeNf4(x: tf.Tensor, device?: 'cpu' | 'cuda'): Nf4 {
  requireXla('quantizeNf4')
  const tabled = (device ?? backend().engine.client.platform) === 'cpu'
  const [out, size] = x.shape as [number, number]
  if (x.rank !== 2 || size % 2 !== 0 || (out * size) % BLOCK !== 0)
    throw new Error(
      `quantizeNf4: the matrix is [${x.shape.join(', ')}]; needed two axes, the second even, and a multiple of ${BLOCK} entries.`,
    )
  return tf.tidy(() => {
    const first = scaled(tf.reshape(astype(x, 'f32'), [-1, BLOCK])) // [blocks, 64]
    const [high, low] = tf.unstack(tf.reshape(above(first.values, LEVEL_BOUNDS), [out, size / 2, 2]), -1)
    const packed = astype(tf.add(tf.mul(high!, tf.scalar(16, 'int32')), low!), 'u8')
    const blocks = first.absmax.size
    // Counted, since XLA multiplies by the reciprocal of a number that it knows, which rounds otherwise.
    const count = tf.sum(tf.cast(tf.greaterEqual(first.absmax, 0), 'float32'))
    const offset = tf.div(tf.sum(first.absmax), count)
    const relative = tf.pad(tf.sub(first.absmax, offset), [[0, -blocks & (NESTED_BLOCK - 1)]])
    const second = scaled(tf.reshape(relative, [-1, NESTED_BLOCK])) // [⌈blocks / 256⌉, 256]
    const nearest = tabled ? above(tableIndex(second.values), TABLE_BOUNDS) : above(second.values, DYNAMIC_BOUNDS)
    const known = tf.mul(nearest, tf.cast(tf.greater(tf.expandDims(second.absmax, 1), 0), 'int32')) // 0 where all are zero
    const indices = tf.slice(tf.reshape(known, [-1]), [0], [blocks])
    return { packed, absmax: astype(indices, 'u8'), nested_absmax: second.absmax, offset }
  })
}

/** Rows in units of their largest absolute value. @returns values [N, K] in [−1, 1], absmax [N] */
function scaled(rows: tf.Tensor): { values: tf.Tensor; absmax: tf.Tensor } {
  const absmax = tf.max(tf.abs(rows), 1) // [N]
  const inverse = tf.reciprocal(tf.maximum(absmax, SMALLEST))
  return { values: tf.clipByValue(tf.mul(rows, tf.expandDims(inverse, 1)), -1, 1), absmax }
}

const SMALLEST = 2 ** -126 // the smallest normal number, for rows of zeros

/** How many of the sorted `bounds` lie below, int32, the shape of x: the index of the nearest level, if they are {@link middles}. */
function above(x: tf.Tensor, bounds: Float32Array): tf.Tensor {
  const index = tf.lowerBound(tf.tensor2d(bounds, [1, bounds.length]), tf.reshape(x, [1, -1]))
  return tf.reshape(index, x.shape)
}

/** Where the nearest of sorted levels changes. */
const middles = (levels: Float32Array) => levels.slice(1).map((level, i) => Math.fround(levels[i]! + level) / 2)
const LEVEL_BOUNDS = middles(LEVELS)
const DYNAMIC_BOUNDS = middles(DYNAMIC_MAP)

const TABLE = 65536 // entries in [−1, 1]; near 0 they are further apart than the numbers of the dynamic map

/** The entry of the table for a value in [−1, 1].
 * @source bitsandbytes 0.50, csrc/cpu_ops.cpp, norm_to_lut_index */
const tableIndex = (x: tf.Tensor): tf.Tensor => tf.floor(tf.add(tf.mul(tf.mul(tf.add(x, 1), 0.5), TABLE - 1), 0.5))

/** The last entry of the table below each of the bounds.
 * @source bitsandbytes 0.50, csrc/cpu_ops.cpp, build_quantize_lut */
const TABLE_BOUNDS = DYNAMIC_BOUNDS.map(bound => {
  const value = (i: number) => Math.fround(-1 + Math.fround((2 * i) / (TABLE - 1)))
  let i = Math.ceil(((bound + 1) / 2) * (TABLE - 1)) + 2
  while (value(i) > bound) i--
  return i
})

/** The matrix [out, in] that a quantised one stands for: bit for bit what bitsandbytes restores. */
export function dequantizeNf4({ packed, absmax, nested_absmax, offset }: Nf4, type: ElementType = 'f32'): tf.Tensor {
  return tf.tidy(() => {
    const [out, size] = [packed.shape[0], 2 * packed.shape[1]!]
    const blocks = absmax.size
    const scales = tf.slice(
      tf.reshape(tf.tile(tf.expandDims(nested_absmax, 1), [1, NESTED_BLOCK]), [-1]),
      [0],
      [blocks],
    )
    // The minimum changes nothing, and keeps the compiler from making one rounding of the product and the sum.
    const product = tf.minimum(tf.mul(tf.gather(tf.tensor1d(DYNAMIC_MAP), absmax), scales), scales)
    const scale = tf.add(product, offset) // [blocks]
    const high = tf.floorDiv(packed, tf.scalar(16, 'int32'))
    const low = tf.sub(packed, tf.mul(high, tf.scalar(16, 'int32')))
    const levels = tf.gather(tf.tensor1d(LEVELS), tf.stack([high, low], -1)) // [out, in / 2, 2]
    const values = tf.mul(tf.reshape(levels, [blocks, BLOCK]), tf.expandDims(scale, 1))
    return astype(tf.reshape(values, [out, size]), type)
  })
}

/** x·Wᵀ for a quantised W, which exists in x's type only for this product: the backward pass restores it once more, and a loop
 * restores it in each step. Differentiable with regard to x.
 * @param x [N, in]
 * @returns [N, out] */
export function matMulNf4(x: tf.Tensor, w: Nf4): tf.Tensor {
  requireXla('matMulNf4')
  const product = tf.customGrad((x, save) => {
    ;(save as tf.GradSaveFunc)(Object.values(w))
    return {
      value: tf.matMul(x as tf.Tensor, restored(w, x as tf.Tensor), false, true),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [packed, absmax, nested_absmax, offset] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
        return tf.matMul(dy, restored({ packed, absmax, nested_absmax, offset }, dy))
      },
    }
  })
  return product(x)
}

/** W in the type of `x`, and not before x is there: else XLA restores the matrices of all layers first, or keeps one that the
 * forward pass restored for the backward pass. */
function restored(w: Nf4, x: tf.Tensor): tf.Tensor {
  // An optimization_barrier would say it, but on the CPU it is dropped before operations are ordered. That no number is both
  // zero and not a number, the compiler does not know.
  const first = tf.reshape(tf.slice(tf.reshape(x, [-1]), [0], [1]), [])
  const never = tf.logicalAnd(tf.isNaN(first), tf.equal(first, 0))
  const [packed, absmax] = [w.packed, w.absmax].map(t => tf.where(never, tf.zerosLike(t), t))
  return dequantizeNf4({ ...w, packed: packed!, absmax: absmax! }, typeOf(x))
}

function requireXla(what: string): void {
  if (!onXla())
    throw new Error(
      `${what}: 4-bit weights need the backend xla; this is ${tf.getBackend()}. Load the model without quantization.`,
    )
}
