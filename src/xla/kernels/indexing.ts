import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { fromDevice } from '../layout.js'
import { isFloat, sizeOf } from '../types.js'
import { axesOf, kernel } from './register.js'

/* Reading and writing at computed indices. Nothing can be thrown from the device: an index out of range reads the nearest
 * value there is, and writes nothing. Indices of `gather` that are still on the host are checked. */

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

/** Slices of x along an axis, in the place of that axis: [..., axis, ...] → [..., ...indices, ...]. */
kernel<tf.GatherV2Inputs, tf.GatherV2Attrs>(tf.GatherV2, ({ x, indices }, { axis, batchDims }) => {
  const [a] = axesOf(axis, x.shape) as [number]
  tf.backend_util.segment_util.collectGatherOpShapeInfo(
    x as unknown as tf.Tensor,
    indices as unknown as tf.Tensor,
    a,
    batchDims,
  )
  checkGiven(indices, x.shape[a]!)
  const at = hlo.convert(indices, 's32')
  if (batchDims === 0) return take(x, at, a)
  const lead = x.shape.slice(0, batchDims)
  const shape = [...x.shape.slice(0, a), ...indices.shape.slice(batchDims), ...x.shape.slice(a + 1)]
  // One axis for the batch, one for what lies between it and the gathered axis, one for what follows.
  const flat = [lead, x.shape.slice(batchDims, a), [x.shape[a]!], x.shape.slice(a + 1)].map(sizeOf)
  const [batch, between, , after] = flat as [number, number, number, number]
  const rows = [batch, sizeOf(at.shape.slice(batchDims))]
  const pairs = [hlo.iota(rows, 0, 's32'), hlo.reshape(at, rows)].map(i => hlo.reshape(i, [...rows, 1]))
  const axes = { offset: [1, 3], collapsed: [0, 2], startMap: [0, 2], indexVector: 2, sizes: [1, between, 1, after] }
  const taken = [batch, between, rows[1]!, after]
  return hlo.reshape(hlo.gather(hlo.reshape(x, flat), hlo.concatenate(pairs, 2), axes, taken), shape)
})

/** @throws if an index that was not uploaded yet is out of range; computed ones are not known */
function checkGiven(indices: Node, size: number): void {
  if (!indices.host) return
  for (const index of fromDevice(indices.host, indices.type))
    if (!(index >= 0 && index < size)) throw new Error(`GatherV2: the index value ${index} is not in [0, ${size - 1}]`)
}

/** The slices of x along an axis that the indices name, in the place of that axis. */
export function take(x: Node, indices: Node, axis: number): Node {
  const rank = indices.shape.length
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)]
  if (sizeOf(shape) === 0) return hlo.fill(0, shape, x.type)
  const axes = {
    offset: [...range(0, axis), ...range(axis + rank, shape.length)],
    collapsed: [axis],
    startMap: [axis],
    indexVector: rank,
    sizes: x.shape.map((d, i) => (i === axis ? 1 : d)),
  }
  return hlo.gather(x, indices, axes, shape)
}

/** indices [..., K] name the first K axes of params: the result is [..., ...the rest]. */
kernel<tf.GatherNdInputs>(tf.GatherNd, ({ params, indices }) => {
  const k = indices.shape[indices.shape.length - 1]
  if (k === undefined || k > params.shape.length || params.shape.length === 0)
    throw new Error(
      `gatherND: indices [${indices.shape.join(',')}] of [${params.shape.join(',')}]; needed a last axis that names at most the ` +
        `${params.shape.length} axes.`,
    )
  const rank = indices.shape.length - 1
  const shape = [...indices.shape.slice(0, rank), ...params.shape.slice(k)]
  if (sizeOf(shape) === 0) return hlo.fill(0, shape, params.type)
  const axes = {
    offset: range(rank, shape.length),
    collapsed: range(0, k),
    startMap: range(0, k),
    indexVector: rank,
    sizes: params.shape.map((d, i) => (i < k ? 1 : d)),
  }
  return hlo.gather(params, hlo.convert(indices, 's32'), axes, shape)
})

/** Updates added into zeros. */
kernel<tf.ScatterNdInputs, tf.ScatterNdAttrs>(tf.ScatterNd, ({ indices, updates }, { shape }) =>
  accumulate(hlo.fill(0, shape, updates.type), indices, updates),
)

/** Updates written over the tensor's values; which of two at the same place stays is not said. */
kernel<tf.TensorScatterUpdateInputs>(tf.TensorScatterUpdate, ({ tensor, indices, updates }) =>
  write(tensor, indices, hlo.convert(updates, tensor.type), 'replace'),
)

/** Adds updates [..., ...rest of x] at indices [..., K] of the first K axes of x; half precision is summed in f32. */
export function accumulate(x: Node, indices: Node, updates: Node): Node {
  if (x.type === 'pred') return write(x, indices, updates, 'or')
  const wide = isFloat(x.type) ? 'f32' : x.type
  return hlo.convert(write(hlo.convert(x, wide), indices, hlo.convert(updates, wide), 'add'), x.type)
}

function write(x: Node, indices: Node, updates: Node, how: 'add' | 'or' | 'replace'): Node {
  const vectors = indices.shape.length > 1
  const k = vectors ? indices.shape[indices.shape.length - 1]! : 1
  const count = sizeOf(indices.shape) / Math.max(k, 1)
  if (sizeOf(updates.shape) === 0 || sizeOf(x.shape) === 0) return x
  const rest = x.shape.slice(k)
  const axes = {
    updateWindow: range(1, 1 + rest.length),
    inserted: range(0, k),
    operandMap: range(0, k),
    indexVector: 1,
  }
  const at = hlo.reshape(hlo.convert(indices, 's32'), [count, k])
  return hlo.scatter(x, at, hlo.reshape(updates, [count, ...rest]), axes, how)
}

/** Sums rows of x by the segment that their ids name; rows of a negative id are left out. */
kernel<{ x: TensorInfo; segmentIds: TensorInfo }, tf.UnsortedSegmentSumAttrs>(
  tf.UnsortedSegmentSum,
  ({ x, segmentIds }, { numSegments }) => {
    const rest = x.shape.slice(segmentIds.shape.length)
    const count = sizeOf(segmentIds.shape)
    const zeros = hlo.fill(0, [numSegments, ...rest], x.type === 'pred' ? 's32' : x.type)
    return accumulate(zeros, hlo.reshape(segmentIds, [count, 1]), hlo.reshape(x, [count, ...rest]))
  },
)

/** Values written over a default at indices [N] or [N, K]. */
kernel<tf.SparseToDenseInputs, tf.SparseToDenseAttrs>(
  tf.SparseToDense,
  ({ sparseIndices, sparseValues, defaultValue }, { outputShape }) => {
    const base = hlo.broadcast(hlo.convert(defaultValue, sparseValues.type), outputShape)
    const scalar = sparseIndices.shape.length === 0
    const indices = scalar ? hlo.reshape(sparseIndices, [1]) : sparseIndices
    const count = indices.shape[0]!
    return write(base, indices, hlo.broadcast(sparseValues, [count]), 'replace')
  },
)
