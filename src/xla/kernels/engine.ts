import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import type { Sharding } from '../sharding.js'
import type { ElementType } from '../types.js'
import { matmul } from './matmul.js'
import { kernel, listKernel } from './register.js'

/* Kernels that tfjs does not know: element types it has no name for, shardings, and slices at computed positions. */

export const ASTYPE = 'XlaAstype'
export const DYNAMIC_SLICE = 'XlaDynamicSlice'
export const DYNAMIC_UPDATE_SLICE = 'XlaDynamicUpdateSlice'
export const COPY = 'XlaCopy'
export const CONSTRAIN = 'XlaConstrain'
export const WIDE_MATMUL = 'XlaWideMatMul'

type X = { x: TensorInfo }

kernel<X, { type: ElementType }>(ASTYPE, ({ x }, { type }) => hlo.convert(x, type))
tf.registerGradient({ kernelName: ASTYPE, gradFunc: dy => ({ x: () => tf.clone(dy as tf.Tensor) }) })

/** A barrier keeps XLA from returning its operand itself. */
kernel<X>(COPY, ({ x }) => hlo.barrier([x])[0]!)
tf.registerGradient({ kernelName: COPY, gradFunc: dy => ({ x: () => tf.clone(dy as tf.Tensor) }) })

kernel<X, { sharding: Sharding }>(CONSTRAIN, ({ x }, { sharding }) => hlo.constrain(x, sharding))
tf.registerGradient({
  kernelName: CONSTRAIN,
  gradFunc: (dy, _, attrs) => ({ x: () => tf.engine().runKernel(CONSTRAIN, { x: dy as tf.Tensor }, attrs) }),
})

kernel<tf.BatchMatMulInputs, tf.BatchMatMulAttrs>(WIDE_MATMUL, ({ a, b }, { transposeA, transposeB }) =>
  matmul(a, b, transposeA, transposeB, true),
)

const starts = (nodes: Node[]): Node[] => nodes.map(n => hlo.convert(n, 's32'))

listKernel<{ sizes: number[] }>(DYNAMIC_SLICE, ([x, ...at], { sizes }) => hlo.dynamicSlice(x!, starts(at), sizes))
listKernel(DYNAMIC_UPDATE_SLICE, ([x, update, ...at]) =>
  hlo.dynamicUpdateSlice(x!, hlo.convert(update!, x!.type), starts(at)),
)

/** Inputs as a list: tfjs types them as a map, but saves all of them only from an array, and names them 0, 1, …. */
export const listed = (tensors: readonly tf.Tensor[]): tf.NamedTensorMap => tensors as unknown as tf.NamedTensorMap

const noGradient = (tensors: readonly tf.Tensor[], from: number) =>
  Object.fromEntries(tensors.slice(from).map((t, i) => [i + from, () => tf.zerosLike(t)]))

tf.registerGradient({
  kernelName: DYNAMIC_SLICE,
  saveAllInputs: true,
  gradFunc: (dy, saved) => {
    const [x, ...at] = saved as [tf.Tensor, ...tf.Tensor[]]
    return {
      0: () => tf.engine().runKernel(DYNAMIC_UPDATE_SLICE, listed([tf.zerosLike(x), dy as tf.Tensor, ...at])),
      ...noGradient(saved, 1),
    }
  },
})
tf.registerGradient({
  kernelName: DYNAMIC_UPDATE_SLICE,
  saveAllInputs: true,
  gradFunc: (dy, saved) => {
    const [, update, ...at] = saved as [tf.Tensor, tf.Tensor, ...tf.Tensor[]]
    const d = dy as tf.Tensor
    return {
      0: () => tf.engine().runKernel(DYNAMIC_UPDATE_SLICE, listed([d, tf.zerosLike(update), ...at])),
      1: () => tf.engine().runKernel(DYNAMIC_SLICE, listed([d, ...at]), { sizes: update.shape }),
      ...noGradient(saved, 2),
    }
  },
})
