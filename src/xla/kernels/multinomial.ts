import * as tf from '@tensorflow/tfjs-core'
import * as hlo from '../hlo.js'
import * as random from '../random.js'
import { cumulative } from './cumulative.js'
import { softmax } from './reduction.js'
import { rawKernel } from './register.js'

/** Draws outcomes by inverting the cumulative distribution at uniform numbers of a key made from the seed.
 * logits [B, V] → int32 [B, numSamples] */
rawKernel(tf.Multinomial, (backend, { logits }, attrs) => {
  const { numSamples, seed, normalized } = attrs as tf.MultinomialAttrs
  const x = backend.node(logits!)
  const [batch, outcomes] = x.shape as [number, number]
  const key = random.key(Number.isSafeInteger(seed) ? seed : Math.floor((seed % 1) * 2 ** 53))
  const uniform = random.uniform(key, [batch, numSamples, 1])
  const probabilities = normalized ? x : softmax(x, 1)
  const upTo = cumulative('add', probabilities, { axis: 1, exclusive: false, reverse: false })
  // The last outcome is what remains, however the sum was rounded.
  const bounds = hlo.reshape(hlo.slice(upTo, [0, 0], [batch, outcomes - 1]), [batch, 1, outcomes - 1])
  const passed = hlo.compare('LE', bounds, backend.node(uniform))
  const result = backend.info(hlo.reduce('add', hlo.convert(passed, 's32'), [2]))
  tf.dispose([key, uniform])
  return result
})
