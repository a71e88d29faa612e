import * as tf from '@tensorflow/tfjs-core'
import * as hlo from '../hlo.js'
import { kernel } from './register.js'

/** The k largest values of the last axis, descending, and their indices; of equal ones the first. */
kernel<tf.TopKInputs, tf.TopKAttrs>(tf.TopK, ({ x }, { k }) => {
  const shape = [...x.shape.slice(0, -1), k]
  if (hlo.size(x) === 0 || k === 0) return [hlo.fill(0, shape, x.type), hlo.fill(0, shape, 's32')]
  return hlo.topK(x, k)
})
