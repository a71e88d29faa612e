import * as tf from '@tensorflow/tfjs-core'
import { dynamicMap } from '../xla/nf4.js'
import { astype, onXla } from '../xla/index.js'
import { mapTensors, tensorsOf, type TensorTree } from '../xla/tree.js'
import type { AdamwState } from './adamw.js'

/** Entries that share a scale. */
const BLOCK = 256
/** Smaller tensors, and embeddings, stay in float32, as in bitsandbytes and transformers' Trainer; here the layers of a model are one tensor. */
const SMALLEST = 4096

/** A tree of moments with a byte for each entry: its place in a map of 256 numbers in units of its block's largest. Where a tensor
 * stays in float32, it stands in `codes`, and its scale is not used. */
type EightBit = {
  codes: TensorTree // u8, each in the shape of its weight
  absmax: TensorTree // f32 [blocks]
}

const MAPS = { m: dynamicMap(true), v: dynamicMap(false) }

/** The moments of AdamW in 8 bits: 2 bytes a weight in place of 8.
 * @source Dettmers et al., 8-bit Optimizers via Block-wise Quantization, arXiv 2110.02861; bitsandbytes 0.50, AdamW8bit */
export function quantizeMoments({ m, v, step }: AdamwState<TensorTree>): AdamwState<TensorTree> {
  return { m: quantized(m, MAPS.m), v: quantized(v, MAPS.v), step }
}

/** What {@link quantizeMoments} makes of moments that are zero, without their values: those the compiler would compute itself, in minutes.
 * @throws Error on a stock backend */
export function quantizeZeros({ m, v, step }: AdamwState<TensorTree>): AdamwState<TensorTree> {
  if (!onXla()) throw new Error(`optim adamw_8bit: needs the backend xla; this is ${tf.getBackend()}. Use adamw_torch.`)
  const zeros = (moments: TensorTree, map: Float32Array): EightBit => ({
    codes: mapTensors(moments, (x, path) => inEightBits(x, path) ? astype(tf.cast(tf.add(x, map.indexOf(0)), 'int32'), 'u8') : x), // prettier-ignore
    absmax: mapTensors(moments, (x, path) => inEightBits(x, path) ? tf.zeros([Math.ceil(x.size / BLOCK)]) : tf.scalar(1)), // prettier-ignore
  })
  return { m: zeros(m, MAPS.m), v: zeros(v, MAPS.v), step }
}

/** What {@link quantizeMoments} stored, in float32. */
export function restoreMoments({ m, v, step }: AdamwState<TensorTree>): AdamwState<TensorTree> {
  return { m: restored(m as EightBit, MAPS.m), v: restored(v as EightBit, MAPS.v), step }
}

const inEightBits = (x: tf.Tensor, path: string): boolean => x.size >= SMALLEST && !/embed/.test(path)

function quantized(moments: TensorTree, map: Float32Array): EightBit {
  const middles = tf.tensor1d(map.slice(1).map((x, i) => Math.fround(map[i]! + x) / 2))
  const absmax = mapTensors(moments, (x, path) =>
    inEightBits(x, path) ? tf.max(tf.abs(blocksOf(x)), 1) : tf.scalar(1),
  )
  const scales = tensorsOf(absmax)
  let i = 0
  const codes = mapTensors(moments, (x, path) => {
    const scale = scales[i++]!
    if (!inEightBits(x, path)) return x
    const inverse = tf.reciprocal(tf.maximum(scale, TINY))
    const values = tf.clipByValue(tf.mul(blocksOf(x), tf.expandDims(inverse, 1)), -1, 1) // [blocks, 256]
    return astype(unblocked(placeIn(values, middles), x.shape), 'u8')
  })
  return { codes, absmax }
}

const TINY = 2 ** -126 // the smallest normal number, for blocks of zeros

/** How many of 255 rising numbers lie below each x, by bisection. */
function placeIn(x: tf.Tensor, middles: tf.Tensor1D): tf.Tensor {
  let place = tf.zerosLike(tf.cast(x, 'int32'))
  for (let half = 128; half >= 1; half /= 2) {
    const middle = tf.gather(middles, tf.add(place, tf.scalar(half - 1, 'int32')))
    place = tf.add(place, tf.mul(tf.cast(tf.less(middle, x), 'int32'), tf.scalar(half, 'int32')))
  }
  return place
}

function restored({ codes, absmax }: EightBit, map: Float32Array): TensorTree {
  const scales = tensorsOf(absmax)
  let i = 0
  return mapTensors(codes, (x, path) => {
    const scale = scales[i++]!
    if (!inEightBits(x, path)) return x
    const values = blocksOf(tf.gather(tf.tensor1d(map), tf.cast(x, 'int32')))
    return unblocked(tf.mul(values, tf.expandDims(scale, 1)), x.shape)
  })
}

/** [blocks, 256], the last filled up with zeros. */
function blocksOf(x: tf.Tensor): tf.Tensor {
  return tf.reshape(tf.pad(tf.reshape(x, [-1]), [[0, -x.size & (BLOCK - 1)]]), [-1, BLOCK])
}

function unblocked(blocks: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const size = shape.reduce((product, n) => product * n, 1)
  return tf.reshape(tf.slice(tf.reshape(blocks, [-1]), [0], [size]), [...shape])
}
