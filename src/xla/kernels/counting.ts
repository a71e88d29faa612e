import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { accumulate } from './indexing.js'
import { kernel } from './register.js'

type Counted = { x: TensorInfo; weights: TensorInfo }

/** The summed weights (1 each, if weights are empty) of each value below `size`. A matrix is counted row by row. */
function counts(x: Node, weights: Node, size: number, binary = false): Node {
  const weight = hlo.size(weights) > 0 && !binary ? weights : hlo.fill(1, x.shape, weights.type)
  const flat = hlo.reshape(weight, [hlo.size(x)])
  const values = hlo.reshape(hlo.convert(x, 's32'), [hlo.size(x), 1])
  const rows = x.shape.length === 2 ? x.shape[0]! : undefined
  const indices =
    rows === undefined ? values : hlo.concatenate([hlo.reshape(hlo.iota(x.shape, 0, 's32'), values.shape), values], 1)
  const zeros = hlo.fill(0, rows === undefined ? [size] : [rows, size], weights.type)
  const sums = accumulate(zeros, indices, flat)
  return binary ? hlo.minimum(sums, hlo.like(sums, 1)) : sums
}

kernel<Counted, tf.BincountAttrs>(tf.Bincount, ({ x, weights }, { size }) => counts(x, weights, size))
kernel<Counted, tf.DenseBincountAttrs>(tf.DenseBincount, ({ x, weights }, { size, binaryOutput }) =>
  counts(x, weights, size, binaryOutput && x.shape.length === 2),
)

/** How many values of each sorted row [B, N] lie before each of `values` [B, M]; `right`: or equal it. */
kernel<tf.SearchSortedInputs, tf.SearchSortedAttrs>(tf.SearchSorted, ({ sortedSequence, values }, { side }) => {
  const [batch, n] = sortedSequence.shape as [number, number]
  const below = hlo.compare(
    side === 'left' ? 'LT' : 'LE',
    hlo.reshape(sortedSequence, [batch, 1, n]),
    hlo.reshape(values, [batch, values.shape[1]!, 1]),
  )
  return hlo.reduce('add', hlo.convert(below, 's32'), [2])
})
