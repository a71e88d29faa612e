import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import { hostNode } from '../backend.js'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { ELEMENT, elementType, sizeOf } from '../types.js'
import { runOnHost } from './host.js'
import { axesOf, kernel, listKernel, rawKernel } from './register.js'

type X = { x: TensorInfo }

/** A data id stands for flat values, so that these share it. */
rawKernel(tf.Identity, (backend, { x }) => backend.shared(x!))
rawKernel(tf.Reshape, (backend, { x }, attrs) => {
  const { shape: wanted } = attrs as tf.ReshapeAttrs
  const size = sizeOf(x!.shape)
  const shape = tf.util.inferFromImplicitShape(wanted, size)
  tf.util.assert(sizeOf(shape) === size, () => `reshape: ${size} values do not fit [${shape.join(', ')}]`)
  return backend.shared(x!, shape)
})
kernel<{ input: TensorInfo }, tf.ExpandDimsAttrs>(tf.ExpandDims, ({ input }, { dim }) => {
  const shape = [...input.shape]
  const [at] = axesOf(dim, [...shape, 1])
  shape.splice(at!, 0, 1)
  return hlo.reshape(input, shape)
})

kernel<X, tf.TransposeAttrs>(tf.Transpose, ({ x }, { perm }) => hlo.transpose(x, perm))
kernel<X, tf.BroadCastToAttrs>(tf.BroadcastTo, ({ x }, { shape }) => hlo.broadcast(x, shape))
kernel<X, tf.ReverseAttrs>(tf.Reverse, ({ x }, { dims }) => {
  const axes = axesOf(dims, x.shape)
  return axes.length ? hlo.reverse(x, axes) : x
})

kernel<X, tf.TileAttrs>(tf.Tile, ({ x }, { reps }) => {
  const split = x.shape.flatMap(d => [1, d])
  const wide = x.shape.flatMap((d, i) => [reps[i]!, d])
  return hlo.reshape(
    hlo.broadcast(hlo.reshape(x, split), wide),
    x.shape.map((d, i) => d * reps[i]!),
  )
})

kernel<X, tf.SliceAttrs>(tf.Slice, ({ x }, { begin, size }) => {
  const info = { shape: x.shape } as TensorInfo
  const [start, extent] = tf.slice_util.parseSliceParams(info, begin, size) as [number[], number[]]
  tf.slice_util.assertParamsValid(info, start, extent)
  return hlo.slice(
    x,
    start,
    start.map((s, i) => s + extent[i]!),
  )
})

kernel<X, tf.StridedSliceAttrs>(tf.StridedSlice, ({ x }, attrs) => {
  const info = tf.slice_util.sliceInfo(
    [...x.shape],
    attrs.begin,
    attrs.end,
    attrs.strides,
    attrs.beginMask,
    attrs.endMask,
    attrs.ellipsisMask,
    attrs.newAxisMask,
    attrs.shrinkAxisMask,
  )
  const { begin, end, strides, finalShape, finalShapeSparse, isIdentity } = info
  if (isIdentity) return hlo.reshape(x, finalShape)
  if (finalShapeSparse.some(d => d === 0)) return hlo.fill(0, finalShape, x.type)
  // A negative stride walks the reversed axis.
  const back = strides.flatMap((s, i) => (s < 0 ? [i] : []))
  const source = back.length ? hlo.reverse(x, back) : x
  const from = begin.map((b, i) => (strides[i]! < 0 ? x.shape[i]! - 1 - b : b))
  const to = end.map((e, i) => (strides[i]! < 0 ? x.shape[i]! - 1 - e : e))
  return hlo.reshape(hlo.slice(source, from, to, strides.map(Math.abs)), finalShape)
})

listKernel<tf.ConcatAttrs>(tf.Concat, (all, { axis }) => {
  const [a] = axesOf(axis, all[0]!.shape) as [number]
  tf.backend_util.assertParamsConsistent(
    all.map(x => [...x.shape]),
    a,
  )
  const xs = all.filter(x => sizeOf(x.shape) > 0)
  if (xs.length > 0) return hlo.concatenate(xs, a)
  const shape = all[0]!.shape.map((d, i) => (i === a ? all.reduce((n, x) => n + x.shape[a]!, 0) : d))
  return hlo.fill(0, shape, all[0]!.type)
})
listKernel<tf.PackAttrs>(tf.Pack, (xs, { axis }) => {
  const [first] = xs as [Node]
  for (const x of xs) {
    tf.util.assertShapesMatch([...first.shape], [...x.shape], 'stack: ')
    if (ELEMENT[x.type].dtype !== ELEMENT[first.type].dtype)
      throw new Error(`stack: tensors of ${first.type} and ${x.type}; needed all floats, all integers or all booleans`)
  }
  const [a] = axesOf(axis, [...first.shape, 1]) as [number]
  const shape = [...first.shape.slice(0, a), 1, ...first.shape.slice(a)]
  return hlo.concatenate(
    xs.map(x => hlo.reshape(x, shape)),
    a,
  )
})
kernel<{ value: TensorInfo }, tf.UnpackAttrs>(tf.Unpack, ({ value }, { axis }) => {
  const [a] = axesOf(axis, value.shape) as [number]
  const rest = value.shape.filter((_, i) => i !== a)
  return Array.from({ length: value.shape[a]! }, (_, i) => hlo.reshape(part(value, a, i, i + 1), rest))
})
kernel<X, tf.SplitVAttrs>(tf.SplitV, ({ x }, { numOrSizeSplits, axis }) => {
  const [a] = axesOf(axis, x.shape) as [number]
  const sizes = tf.backend_util.prepareSplitSize({ shape: [...x.shape] } as tf.Tensor, numOrSizeSplits, a)
  let start = 0
  return sizes.map(size => part(x, a, start, (start += size)))
})

function part(x: Node, axis: number, from: number, to: number): Node {
  return hlo.slice(
    x,
    x.shape.map((_, i) => (i === axis ? from : 0)),
    x.shape.map((d, i) => (i === axis ? to : d)),
  )
}

kernel<X, tf.PadV2Attrs>(tf.PadV2, ({ x }, { paddings, constantValue }) =>
  hlo.pad(
    x,
    hlo.fill(constantValue, [], x.type),
    paddings.map(p => p[0]),
    paddings.map(p => p[1]),
  ),
)
kernel<X, tf.MirrorPadAttrs>(tf.MirrorPad, ({ x }, { paddings, mode }) => {
  const skip = mode === 'reflect' ? 1 : 0
  return paddings.reduce((y, [low, high], axis) => {
    const n = y.shape[axis]!
    const before = low ? [hlo.reverse(part(y, axis, skip, low + skip), [axis])] : []
    const after = high ? [hlo.reverse(part(y, axis, n - high - skip, n - skip), [axis])] : []
    return hlo.concatenate([...before, y, ...after], axis)
  }, x)
})

/** [...] → [..., ...] with the values on the diagonal, zeros elsewhere. */
kernel<X>(tf.Diag, ({ x }) => {
  const n = sizeOf(x.shape)
  const on = hlo.compare('EQ', hlo.iota([n, n], 0, 's32'), hlo.iota([n, n], 1, 's32'))
  const values = hlo.reshape(x, [n])
  return hlo.reshape(hlo.select(on, values, hlo.like(values, 0)), [...x.shape, ...x.shape])
})

// Creation

rawKernel(tf.Fill, (backend, _, attrs) => {
  const { shape, value, dtype } = attrs as tf.FillAttrs
  if (typeof value === 'string') return runOnHost(tf.Fill, backend, {}, attrs)
  const type = elementType(dtype ?? 'float32')
  // Zero and one are literals; another number may change from call to call.
  if (value === 0 || value === 1) return backend.info(hlo.fill(value, shape, type))
  return backend.info(hlo.broadcast(hostNode([value], [], type), shape))
})
/** On the devices where x lies. */
kernel<X>(tf.ZerosLike, ({ x }) => (x.sharding ? hlo.constrain(hlo.like(x, 0), x.sharding) : hlo.like(x, 0)))
kernel<X>(tf.OnesLike, ({ x }) => hlo.like(x, 1))
kernel<object, tf.RangeAttrs>(tf.Range, (_, { start, stop, step, dtype }) => {
  const type = elementType(dtype)
  const by = stop < start && step === 1 ? -1 : step // tfjs counts down unasked
  const index = hlo.iota([Math.max(0, Math.ceil((stop - start) / by))], 0, type)
  return hlo.add(hlo.multiply(index, hlo.like(index, by)), hlo.like(index, start))
})
kernel<object, tf.LinSpaceAttrs>(tf.LinSpace, (_, { start, stop, num }) => {
  const step = (stop - start) / (num - 1)
  const index = hlo.iota([num], 0, 'f32')
  return hlo.add(hlo.multiply(index, hlo.like(index, num > 1 ? step : 0)), hlo.like(index, start))
})
/** Depth is the last axis; an index out of range gives a row of off values. */
kernel<{ indices: TensorInfo }, tf.OneHotAttrs>(tf.OneHot, ({ indices }, { dtype, depth, onValue, offValue }) => {
  const shape = [...indices.shape, depth]
  const type = elementType(dtype)
  const hit = hlo.compare(
    'EQ',
    hlo.reshape(hlo.convert(indices, 's32'), [...indices.shape, 1]),
    hlo.iota(shape, shape.length - 1, 's32'),
  )
  return hlo.select(hit, hlo.fill(onValue, shape, type), hlo.fill(offValue, shape, type))
})
