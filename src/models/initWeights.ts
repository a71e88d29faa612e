import * as tf from '@tensorflow/tfjs-core'
import { treeOf, type Parameter } from '../io/checkpoint.js'
import { random, type TensorTree } from '../xla/index.js'
import { drawEach } from './drawEach.js'

/** How a tensor starts: the standard deviation of normal numbers, or a constant. */
export type Start = { std: number } | { constant: number }

/** Random weights of a model: matrices and filters with a standard deviation of 1/√fan-in, biases 0, scales of norms 1.
 * @param key int32 [2]
 * @param start how some tensors start otherwise; undefined: as above */
export function initWeights(
  parameters: readonly Parameter[],
  key: tf.Tensor,
  start: (parameter: Parameter) => Start | undefined = () => undefined,
): TensorTree {
  const starts = parameters.map(parameter => start(parameter) ?? usual(parameter))
  const shapes = parameters.map(({ name, shape, layers }) =>
    layers === undefined || !name.includes('*') ? shape : [layers, ...shape],
  )
  const normals = drawEach(
    shapes.filter((_, i) => 'std' in starts[i]!),
    size => random.normal(key, [size]),
  )
  let next = 0
  const leaves = parameters.map(({ path }, i): [string, tf.Tensor] => {
    const from = starts[i]!
    if ('constant' in from) return [path, tf.fill(shapes[i]!, from.constant)]
    const drawn = normals[next++]!
    const scaled = tf.mul(drawn, from.std)
    drawn.dispose()
    return [path, scaled]
  })
  return treeOf(leaves)
}

function usual({ name, shape }: Parameter): Start {
  if (name.endsWith('.bias')) return { constant: 0 }
  if (shape.length === 1) return { constant: 1 }
  return { std: 1 / Math.sqrt(shape.slice(1).reduce((n, d) => n * d, 1)) }
}
