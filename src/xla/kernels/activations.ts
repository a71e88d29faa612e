import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'

/* Activation functions: kernels of their own, and fused into matMul and conv2d. */

export const relu = (x: Node): Node => hlo.maximum(x, hlo.like(x, 0))
export const relu6 = (x: Node): Node => hlo.minimum(relu(x), hlo.like(x, 6))
export const elu = (x: Node): Node =>
  hlo.select(hlo.compare('GE', x, hlo.like(x, 0)), x, hlo.unary('exponential_minus_one', x))
/** `alpha` times x below zero. */
export const prelu = (x: Node, alpha: Node): Node =>
  hlo.select(hlo.compare('LT', x, hlo.like(x, 0)), hlo.multiply(x, alpha), x)
export const leakyRelu = (x: Node, alpha: number): Node => prelu(x, hlo.like(x, alpha))

/** The activation that tfjs names when it fuses one. */
export function activate(x: Node, activation: string | undefined, alpha?: Node, leakyreluAlpha?: number): Node {
  switch (activation) {
    case undefined:
    case null:
    case 'linear':
      return x
    case 'relu':
      return relu(x)
    case 'relu6':
      return relu6(x)
    case 'elu':
      return elu(x)
    case 'sigmoid':
      return hlo.unary('logistic', x)
    case 'prelu':
      return prelu(x, alpha!)
    case 'leakyrelu':
      return leakyRelu(x, leakyreluAlpha ?? 0)
    default:
      throw new Error(`xla: unknown activation "${activation}"`)
  }
}
