import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { floatType } from '../types.js'
import { kernel } from './register.js'

type Moments = { x: TensorInfo; scale: TensorInfo; offset: TensorInfo; mean: TensorInfo; variance: TensorInfo }

/* Computed in f32; x's type stays. */

const wide = (x: Node): Node => hlo.convert(x, 'f32')

/** (x − mean) · scale / √(variance + ε) + offset, per channel or elementwise. */
kernel<Moments, tf.FusedBatchNormAttrs>(
  tf.FusedBatchNorm,
  ({ x, scale, offset, mean, variance }, { varianceEpsilon }) => {
    const inverse = hlo.unary('rsqrt', hlo.add(wide(variance), hlo.fill(varianceEpsilon, [], 'f32')))
    const normal = hlo.multiply(hlo.subtract(wide(x), mean), scale ? hlo.multiply(inverse, scale) : inverse)
    return hlo.convert(offset ? hlo.add(normal, offset) : normal, floatType(x.type))
  },
)

/** Sums over the neighbouring channels: `depthRadius` on both sides, and the channel itself. */
function nearby(x: Node, depthRadius: number): Node {
  const last = x.shape.length - 1
  return hlo.reduceWindow('add', x, {
    size: x.shape.map((_, i) => (i === last ? 2 * depthRadius + 1 : 1)),
    strides: x.shape.map(() => 1),
    padding: x.shape.map((_, i) => (i === last ? [depthRadius, depthRadius] : [0, 0])),
  })
}

function norm(x: Node, { depthRadius, bias, alpha }: tf.LRNAttrs): Node {
  const squares = nearby(hlo.multiply(x, x), depthRadius)
  return hlo.add(hlo.multiply(squares, hlo.like(x, alpha)), hlo.like(x, bias))
}

const power = (x: Node, exponent: number): Node => hlo.binary('power', x, hlo.like(x, exponent))

/** Local response normalisation: y = x · norm^−β, where norm = bias + α Σ x² over the channels nearby. */
kernel<{ x: TensorInfo }, tf.LRNAttrs>(tf.LRN, ({ x }, a) =>
  hlo.convert(hlo.multiply(x, power(norm(wide(x), a), -a.beta)), floatType(x.type)),
)

/** dx = dy · norm^−β − 2αβ · x · Σ (dy · y / norm) over the channels nearby. */
kernel<{ x: TensorInfo; y: TensorInfo; dy: TensorInfo }, tf.LRNGradAttrs>(tf.LRNGrad, ({ x, y, dy }, a) => {
  const n = norm(wide(x), a)
  const spread = nearby(hlo.divide(hlo.multiply(wide(dy), y), n), a.depthRadius)
  const through = hlo.multiply(hlo.multiply(x, spread), hlo.like(x, 2 * a.alpha * a.beta))
  return hlo.convert(hlo.subtract(hlo.multiply(dy, power(n, -a.beta)), through), floatType(x.type))
})
