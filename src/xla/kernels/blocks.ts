import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import * as hlo from '../hlo.js'
import { sizeOf } from '../types.js'
import { kernel } from './register.js'

/* Blocks of space moved into the batch or out of the channels, and the reverse. */

type X = { x: TensorInfo }
const { getReshaped, getPermuted, getReshapedPermuted, getSliceBeginCoords, getSliceSize } = tf.backend_util

kernel<X, tf.BatchToSpaceNDAttrs>(tf.BatchToSpaceND, ({ x }, { blockShape, crops }) => {
  const count = sizeOf(blockShape)
  const split = getReshaped([...x.shape], blockShape, count)
  const permuted = hlo.transpose(hlo.reshape(x, split), getPermuted(split.length, blockShape.length))
  const shape = getReshapedPermuted([...x.shape], blockShape, count)
  const begin = getSliceBeginCoords(crops, blockShape.length)
  const size = getSliceSize(shape, crops, blockShape.length)
  const rest = shape.slice(begin.length)
  return hlo.slice(
    hlo.reshape(permuted, shape),
    [...begin, ...rest.map(() => 0)],
    [...begin.map((b, i) => b + size[i]!), ...rest],
  )
})

kernel<X, tf.SpaceToBatchNDAttrs>(tf.SpaceToBatchND, ({ x }, { blockShape, paddings }) => {
  const around = (side: 0 | 1) => x.shape.map((_, i) => paddings[i - 1]?.[side] ?? 0)
  const padded = hlo.pad(x, hlo.fill(0, [], x.type), around(0), around(1))
  const count = sizeOf(blockShape)
  const split = getReshaped([...padded.shape], blockShape, count, false)
  const permutation = getPermuted(split.length, blockShape.length, false)
  const shape = getReshapedPermuted([...padded.shape], blockShape, count, false)
  return hlo.reshape(hlo.transpose(hlo.reshape(padded, split), permutation), shape)
})

/** Channels [block, block, depth] become squares of pixels. */
kernel<X, tf.DepthToSpaceAttrs>(tf.DepthToSpace, ({ x }, { blockSize: k, dataFormat }) => {
  if (dataFormat === 'NHWC') {
    const [batch, height, width, channels] = x.shape as [number, number, number, number]
    const split = hlo.reshape(x, [batch, height, width, k, k, channels / k ** 2])
    return hlo.reshape(hlo.transpose(split, [0, 1, 3, 2, 4, 5]), [batch, height * k, width * k, channels / k ** 2])
  }
  const [batch, channels, height, width] = x.shape as [number, number, number, number]
  const split = hlo.reshape(x, [batch, k, k, channels / k ** 2, height, width])
  return hlo.reshape(hlo.transpose(split, [0, 3, 4, 1, 5, 2]), [batch, channels / k ** 2, height * k, width * k])
})
