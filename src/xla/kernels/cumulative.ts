import * as tf from '@tensorflow/tfjs-core'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { isFloat, sumType } from '../types.js'
import { axesOf, kernel } from './register.js'

type X = { x: tf.TensorInfo }

kernel<X, tf.CumsumAttrs>(tf.Cumsum, ({ x }, attrs) => cumulative('add', x, attrs))
kernel<X, tf.CumprodAttrs>(tf.Cumprod, ({ x }, attrs) => cumulative('multiply', x, attrs))

/** Reduces, for each place of an axis, all values up to it; `exclusive` leaves out its own, `reverse` starts at the end.
 * Half precision is summed in f32. */
export function cumulative(
  reducer: 'add' | 'multiply',
  input: Node,
  { axis, exclusive, reverse }: tf.CumsumAttrs | tf.CumprodAttrs,
): Node {
  const type = sumType(input.type)
  const x = hlo.convert(input, isFloat(type) ? 'f32' : type)
  const [a] = axesOf(axis, x.shape) as [number]
  const n = x.shape[a]!
  if (n === 0) return hlo.convert(x, type)
  const on = (value: number) => x.shape.map((_, i) => (i === a ? value : 0))
  const neutral = hlo.fill(hlo.identity(reducer, x.type), [], x.type)
  const shifted = exclusive ? hlo.pad(x, neutral, on(reverse ? -1 : 1), on(reverse ? 1 : -1)) : x
  const sums = hlo.reduceWindow(reducer, shifted, {
    size: x.shape.map((_, i) => (i === a ? n : 1)),
    strides: x.shape.map(() => 1),
    padding: x.shape.map((_, i) => (i !== a ? [0, 0] : reverse ? [0, n - 1] : [n - 1, 0])),
  })
  return hlo.convert(sums, type)
}
