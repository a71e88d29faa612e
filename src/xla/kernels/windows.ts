import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { sizeOf } from '../types.js'
import { kernel } from './register.js'

/* Pooling and morphological dilation: reductions over sliding windows. Padding never counts. */

interface Attrs {
  filterSize: number | number[]
  strides: number | number[]
  pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding
  dimRoundingMode?: 'floor' | 'round' | 'ceil'
}

interface Pool extends hlo.Window {
  outShape: number[]
}

/** The window over [batch, ...spatial, channels]. A last window that reaches over the edge (rounding up) adds padding. */
function pool(x: Node, size: number[], strides: number[], before: number[], outShape: number[]): Pool {
  const spatial = (values: readonly number[]) => [1, ...values, 1]
  const padding = size.map((k, i): [number, number] => {
    const needed = (outShape[i + 1]! - 1) * strides[i]! + k - x.shape[i + 1]! - before[i]!
    return [before[i]!, Math.max(0, needed)]
  })
  return { size: spatial(size), strides: spatial(strides), padding: [[0, 0], ...padding, [0, 0]], outShape }
}

function pool2D(x: Node, a: Attrs): Pool {
  const c = tf.backend_util.computePool2DInfo(
    x.shape as [number, number, number, number],
    a.filterSize as number,
    a.strides as number,
    1,
    a.pad,
    a.dimRoundingMode,
  )
  const before = [c.padInfo.top, c.padInfo.left]
  return pool(x, [c.filterHeight, c.filterWidth], [c.strideHeight, c.strideWidth], before, c.outShape)
}

function pool3D(x: Node, a: Attrs): Pool {
  const c = tf.backend_util.computePool3DInfo(
    x.shape as [number, number, number, number, number],
    a.filterSize as number,
    a.strides as number,
    1,
    a.pad as 'same',
    a.dimRoundingMode,
  )
  const size = [c.filterDepth, c.filterHeight, c.filterWidth]
  const before = [c.padInfo.front, c.padInfo.top, c.padInfo.left]
  return pool(x, size, [c.strideDepth, c.strideHeight, c.strideWidth], before, c.outShape)
}

/** Windows of one value that leave the shape as it is leave the values, too: so does tfjs, even where padding shifts the windows. */
const trivial = (x: Node, p: Pool): boolean => sizeOf(p.size) === 1 && x.shape.join() === p.outShape.join()

const max = (x: Node, p: Pool): Node => (trivial(x, p) ? x : hlo.reduceWindow('maximum', x, p))

function maxGradient(dy: Node, x: Node, p: Pool): Node {
  return trivial(x, p) ? dy : hlo.selectAndScatter(x, dy, p)
}

/** How many values, padding left out, each window covers. */
function counts(x: Node, p: Pool): Node {
  const covered = hlo.reduceWindow('add', hlo.fill(1, x.shape, 'f32'), p)
  return hlo.maximum(covered, hlo.like(covered, 1)) // a window that lies in the padding gives 0
}

function average(x: Node, p: Pool): Node {
  if (trivial(x, p)) return x
  return hlo.convert(hlo.divide(hlo.reduceWindow('add', hlo.convert(x, 'f32'), p), counts(x, p)), x.type)
}

/** Each window's cotangent, shared among the values it covers. */
function averageGradient(dy: Node, x: Node, p: Pool): Node {
  if (trivial(x, p)) return dy
  const share = hlo.divide(hlo.convert(dy, 'f32'), counts(x, p))
  const spread = dy.shape.map((n, i) => (n - 1) * p.strides[i]! + 1)
  const before = p.size.map((k, i) => k - 1 - p.padding[i]![0])
  const after = p.size.map((k, i) => x.shape[i]! + k - 1 - spread[i]! - before[i]!)
  const zero = hlo.fill(0, [], share.type)
  const apart = hlo.pad(
    share,
    zero,
    before,
    after,
    p.strides.map(s => s - 1),
  )
  const ones = p.size.map(() => 1)
  const sums = hlo.reduceWindow('add', apart, { size: p.size, strides: ones, padding: ones.map(() => [0, 0]) })
  return hlo.convert(sums, x.type)
}

type X = { x: TensorInfo }
type Gradient = { dy: TensorInfo; input: TensorInfo }

kernel<X, Attrs>(tf.MaxPool, ({ x }, a) => max(x, pool2D(x, a)))
kernel<X, Attrs>(tf.MaxPool3D, ({ x }, a) => max(x, pool3D(x, a)))
kernel<X, Attrs>(tf.AvgPool, ({ x }, a) => average(x, pool2D(x, a)))
kernel<X, Attrs>(tf.AvgPool3D, ({ x }, a) => average(x, pool3D(x, a)))
kernel<Gradient, Attrs>(tf.MaxPoolGrad, ({ dy, input }, a) => maxGradient(dy, input, pool2D(input, a)))
kernel<Gradient, Attrs>(tf.MaxPool3DGrad, ({ dy, input }, a) => maxGradient(dy, input, pool3D(input, a)))
kernel<Gradient, Attrs>(tf.AvgPoolGrad, ({ dy, input }, a) => averageGradient(dy, input, pool2D(input, a)))
kernel<Gradient, Attrs>(tf.AvgPool3DGrad, ({ dy, input }, a) => averageGradient(dy, input, pool3D(input, a)))

/** One place of the window: what each window holds there, and where that lies. */
interface Place {
  offset: number[]
  values: Node
}

/** Every place of a window over two spatial axes. Values in the padding are the lowest there is. */
function places(x: Node, p: Pool, dilations: readonly number[]): Place[] {
  const lowest = hlo.fill(hlo.identity('maximum', x.type), [], x.type)
  const low = p.padding.map(([before]) => before)
  const high = p.padding.map(([, after]) => after)
  const padded = hlo.pad(x, lowest, low, high)
  const [rows, columns] = [p.size[1]!, p.size[2]!]
  return Array.from({ length: rows * columns }, (_, n) => {
    const offset = [Math.floor(n / columns) * dilations[0]!, (n % columns) * dilations[1]!]
    const start = [0, ...offset, 0]
    const limit = start.map((s, i) => s + (p.outShape[i]! - 1) * p.strides[i]! + 1)
    return { offset, values: hlo.slice(padded, start, limit, p.strides) }
  })
}

/** The largest value over all places, and the number of the first place that has it. NaN is passed over. */
function best(candidates: readonly Node[]): { value: Node; place: Node } {
  return candidates.slice(1).reduce(
    ({ value, place }, candidate, i) => {
      const better = hlo.binary('or', hlo.compare('GT', candidate, value), hlo.isNaN(value))
      return { value: hlo.select(better, candidate, value), place: hlo.select(better, hlo.like(place, i + 1), place) }
    },
    { value: candidates[0]!, place: hlo.fill(0, candidates[0]!.shape, 's32') },
  )
}

/** Also where each maximum lies: its flat index in the image, or in the batch. */
kernel<X, Attrs & { includeBatchInIndex: boolean }>(tf.MaxPoolWithArgmax, ({ x }, a) => {
  const p = pool2D(x, a)
  const all = places(x, p, [1, 1])
  const { value, place } = best(all.map(at => at.values))
  const [, height, width, channels] = x.shape as [number, number, number, number]
  const index = (axis: number) => hlo.iota(p.outShape, axis, 's32')
  const scaled = (n: Node, by: number) => hlo.multiply(n, hlo.like(n, by))
  const columns = p.size[2]!
  const along = (axis: 1 | 2, within: Node) => {
    const start = hlo.subtract(scaled(index(axis), p.strides[axis]!), hlo.like(within, p.padding[axis]![0]))
    return hlo.add(start, within)
  }
  const y = along(1, hlo.divide(place, hlo.like(place, columns)))
  const row = hlo.add(scaled(y, width), along(2, hlo.binary('remainder', place, hlo.like(place, columns))))
  const flat = hlo.add(scaled(row, channels), index(3))
  return [value, a.includeBatchInIndex ? hlo.add(scaled(index(0), height * width * channels), flat) : flat]
})

interface DilationAttrs {
  strides: number | number[]
  pad: 'valid' | 'same' | number
  dilations: number | number[]
}
type DilationInputs = { x: TensorInfo; filter: TensorInfo }

/** Greyscale morphological dilation: the largest of value + filter over a window; filter [H, W, channels]. */
function dilation(x: Node, filter: Node, a: DilationAttrs) {
  const c = tf.backend_util.computeDilation2DInfo(
    x.shape as [number, number, number, number],
    filter.shape as [number, number, number],
    a.strides as number,
    a.pad,
    'NHWC',
    a.dilations as number,
  )
  const size = [c.filterHeight, c.filterWidth]
  const reach = [c.effectiveFilterHeight, c.effectiveFilterWidth]
  const p = pool(x, reach, [c.strideHeight, c.strideWidth], [c.padInfo.top, c.padInfo.left], c.outShape)
  const all = places(x, { ...p, size: [1, ...size, 1] }, [c.dilationHeight, c.dilationWidth])
  const rows = hlo.reshape(filter, [size[0]! * size[1]!, filter.shape[2]!])
  const weight = (n: number) => hlo.reshape(hlo.slice(rows, [n, 0], [n + 1, rows.shape[1]!]), [rows.shape[1]!])
  return { p, all, ...best(all.map((at, n) => hlo.add(at.values, weight(n)))) }
}

kernel<DilationInputs, DilationAttrs>(tf.Dilation2D, ({ x, filter }, a) => dilation(x, filter, a).value)

/** The cotangent, where the window's maximum lies at the place; elsewhere 0. */
const chosen = (dy: Node, place: Node, n: number): Node =>
  hlo.select(hlo.compare('EQ', place, hlo.like(place, n)), dy, hlo.like(dy, 0))

kernel<DilationInputs & { dy: TensorInfo }, DilationAttrs>(tf.Dilation2DBackpropFilter, ({ x, filter, dy }, a) => {
  const { all, place } = dilation(x, filter, a)
  const rows = all.map((_, n) => hlo.reshape(hlo.reduce('add', chosen(dy, place, n), [0, 1, 2]), [1, filter.shape[2]!]))
  return hlo.reshape(hlo.concatenate(rows, 0), filter.shape)
})

kernel<DilationInputs & { dy: TensorInfo }, DilationAttrs>(tf.Dilation2DBackpropInput, ({ x, filter, dy }, a) => {
  const { p, all, place } = dilation(x, filter, a)
  const zero = hlo.fill(0, [], dy.type)
  const between = p.strides.map(s => s - 1)
  return all
    .map(({ offset }, n) => {
      const before = [0, ...offset, 0].map((o, i) => o - p.padding[i]![0])
      const after = before.map((b, i) => x.shape[i]! - b - ((dy.shape[i]! - 1) * p.strides[i]! + 1))
      return hlo.pad(chosen(dy, place, n), zero, before, after, between)
    })
    .reduce(hlo.add)
})
