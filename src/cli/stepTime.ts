import * as tf from '@tensorflow/tfjs-core'
import { astype, disposeTree, jit } from '../xla/index.js'

/** What a step of training computes. */
export interface StepWork {
  /** Floating-point operations of the matrix products in an update, and in drawing completions of full length. */
  update: number
  sampling: number
  /** Bytes that pass through memory besides: weights and moments in an update, weights for each token that is drawn. */
  updateBytes: number
  samplingBytes: number
  /** What products are computed in. */
  type: 'f32' | 'bf16'
}

/** Seconds of a step, about: its products at the speed of one large product on this device, its traffic at that of a copy, which are measured in
 * less than a second, and the rest as a share of them. Rewards, and pictures of prompts, are not in it. */
export async function stepSeconds(work: StepWork): Promise<{ update: number; sampling: number }> {
  const { flops, bytes } = await speeds(work.type)
  return {
    update: REST * (work.update / flops + work.updateBytes / bytes),
    sampling: REST * (work.sampling / flops + work.samplingBytes / bytes),
  }
}

/** What all that is no large product or copy adds: smaller products, softmax, norms. */
const REST = 1.4

/** Operations and bytes a second: the best of a few tries. */
async function speeds(type: StepWork['type']): Promise<{ flops: number; bytes: number }> {
  const product = jit((a: tf.Tensor) => tf.matMul(a as tf.Tensor2D, a as tf.Tensor2D), { name: 'product' })
  let [n, seconds] = [256, 0]
  while (seconds < LONG && n < LARGEST) seconds = await best(product, [(n *= 2), n], type)
  const copy = jit((a: tf.Tensor) => tf.add(a, 1), { name: 'copy' })
  return { flops: (2 * n ** 3) / seconds, bytes: (2 * 4 * COPIED) / (await best(copy, [COPIED], 'f32')) }
}

/** Seconds of a product from which the start of a program does not count. */
const LONG = 0.01
const LARGEST = 8192
const COPIED = 2 ** 24 // numbers: more than caches hold

async function best(program: { async(a: tf.Tensor): Promise<tf.Tensor> }, shape: number[], type: 'f32' | 'bf16') {
  const x = tf.tidy(() => astype(tf.ones(shape), type))
  let seconds = Infinity
  for (let i = 0; i < 4; i++) {
    const began = performance.now()
    const result = await program.async(x) // the first time compiles
    seconds = Math.min(seconds, (performance.now() - began) / 1000)
    result.dispose()
  }
  disposeTree(x)
  return seconds
}
