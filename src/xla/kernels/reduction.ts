import * as tf from '@tensorflow/tfjs-core'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { floatType, isFloat, sizeOf, sumType } from '../types.js'
import { axesOf, kernel } from './register.js'

type X = { x: tf.TensorInfo }
type Axes = { axis: number | number[]; keepDims?: boolean }

/** Reduces the named axes; with keepDims they stay as 1. */
function reduced(x: Node, { axis, keepDims }: Axes, f: (x: Node, axes: number[]) => Node): Node {
  const axes = axesOf(axis, x.shape)
  const result = f(x, axes)
  return keepDims
    ? hlo.reshape(
        result,
        x.shape.map((d, i) => (axes.includes(i) ? 1 : d)),
      )
    : result
}

const number = (x: Node): Node => (x.type === 'pred' ? hlo.convert(x, 's32') : x)
const summand = (x: Node): Node => hlo.convert(x, sumType(x.type))

/** NaN wins. XLA's own reduction passes it over on the CPU, or is many times slower there. */
function extreme(reducer: 'maximum' | 'minimum', x: Node, axes: number[]): Node {
  if (x.type === 'pred') return hlo.reduce(reducer === 'maximum' ? 'or' : 'and', x, axes)
  const result = hlo.reduce(reducer, x, axes)
  if (!isFloat(x.type)) return result
  return hlo.select(hlo.reduce('or', hlo.isNaN(x), axes), hlo.like(result, NaN), result)
}

kernel<X, tf.MaxAttrs>(tf.Max, ({ x }, { reductionIndices, keepDims }) =>
  reduced(x, { axis: reductionIndices, keepDims }, (y, axes) => extreme('maximum', y, axes)),
)
kernel<X, Axes>(tf.Min, ({ x }, a) => reduced(x, a, (y, axes) => extreme('minimum', y, axes)))
kernel<X, Axes>(tf.Sum, ({ x }, a) => reduced(summand(x), a, (y, axes) => hlo.reduce('add', y, axes)))
kernel<X, Axes>(tf.Prod, ({ x }, a) => reduced(summand(x), a, (y, axes) => hlo.reduce('multiply', y, axes)))
kernel<X, Axes>(tf.All, ({ x }, a) => reduced(x, a, (y, axes) => hlo.reduce('and', y, axes)))
kernel<X, Axes>(tf.Any, ({ x }, a) => reduced(x, a, (y, axes) => hlo.reduce('or', y, axes)))
kernel<X, Axes>(tf.Mean, ({ x }, a) => reduced(hlo.convert(x, floatType(x.type)), a, mean))

function mean(x: Node, axes: number[]): Node {
  const wide = hlo.convert(x, 'f32')
  const count = sizeOf(axes.map(i => x.shape[i]!))
  const sum = hlo.reduce('add', wide, axes)
  return hlo.convert(hlo.divide(sum, hlo.like(sum, count)), x.type)
}

kernel<X, { axis: number }>(tf.ArgMax, ({ x }, { axis }) => argument(x, axis, 'GT'))
kernel<X, { axis: number }>(tf.ArgMin, ({ x }, { axis }) => argument(x, axis, 'LT'))

/** The first index of the extreme value along an axis. NaN is passed over, unless it comes first: so does tfjs. */
function argument(input: Node, axis: number | number[], direction: 'GT' | 'LT'): Node {
  const [a] = axesOf(axis, input.shape) as [number]
  const [reducer, least] = direction === 'GT' ? (['maximum', -Infinity] as const) : (['minimum', Infinity] as const)
  const nan = hlo.isNaN(input)
  const x = isFloat(input.type) ? hlo.select(nan, hlo.like(input, least), input) : number(input)
  const shape = x.shape.map((d, i) => (i === a ? 1 : d))
  const hit = hlo.compare('EQ', x, hlo.reshape(hlo.reduce(reducer, x, [a]), shape))
  const index = hlo.iota(x.shape, a, 's32')
  const first = hlo.binary('and', nan, hlo.compare('EQ', index, hlo.like(index, 0)))
  return hlo.reduce('minimum', hlo.select(hlo.binary('or', hit, first), index, hlo.like(index, x.shape[a]! - 1)), [a])
}

/** Softmax over an axis, computed in f32 whatever the type. */
kernel<tf.SoftmaxInputs, tf.SoftmaxAttrs>(tf.Softmax, ({ logits }, { dim }) => softmax(logits, dim))

export function softmax(logits: Node, axis: number): Node {
  const [exponent, sum] = exponentials(logits, axis)
  return hlo.convert(hlo.divide(exponent, sum), floatType(logits.type))
}

kernel<tf.LogSoftmaxInputs, tf.LogSoftmaxAttrs>(tf.LogSoftmax, ({ logits }, { axis }) => {
  const [, sum, shifted] = exponentials(logits, axis)
  return hlo.convert(hlo.subtract(shifted, hlo.unary('log', sum)), floatType(logits.type))
})

function exponentials(x: Node, axis: number): [exponent: Node, sum: Node, shifted: Node] {
  const wide = hlo.convert(x, 'f32') // exp overflows in half precision
  const axes = axesOf(axis, x.shape)
  const kept = x.shape.map((d, i) => (axes.includes(i) ? 1 : d))
  const shifted = hlo.subtract(wide, hlo.reshape(hlo.reduce('maximum', wide, axes), kept))
  const exponent = hlo.unary('exponential', shifted)
  return [exponent, hlo.reshape(hlo.reduce('add', exponent, axes), kept), shifted]
}
