import * as tf from '@tensorflow/tfjs-core'
import type { BackendValues, DataType, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import type { XlaBackend } from '../backend.js'

/** What its kernels ask of tfjs's CPU backend. */
interface Host extends tf.KernelBackend {
  data: tf.DataStorage<{
    values?: BackendValues
    dtype: DataType
    complexTensorInfos?: { real: TensorInfo; imag: TensorInfo }
    refCount: number
  }>
  makeTensorInfo(shape: number[], dtype: DataType, values: BackendValues): TensorInfo
}

/** Some kernels take lists of tensors under one name. */
type Inputs = Record<string, TensorInfo | TensorInfo[]> | readonly TensorInfo[]

/** Runs tfjs's own CPU kernel on the inputs' values: for strings and complex numbers, which the device does not store, and
 * where the result's shape depends on the values. Counted in {@link import('../stats.js').Stats.hostKernels}.
 * @throws inside a traced function, where there are no values */
export function runOnHost(
  kernelName: string,
  xla: XlaBackend,
  inputs: Inputs,
  attrs: object,
): TensorInfo | TensorInfo[] {
  const kernel = tf.getKernel(kernelName, 'cpu')
  if (!kernel) throw new Error(`xla: ${kernelName} is not implemented for strings and complex numbers`)
  xla.engine.stats.hostKernels++
  const host = tf.findBackendFactory('cpu')() as Host
  const moved = (x: TensorInfo | readonly TensorInfo[]): unknown =>
    Array.isArray(x) ? x.map(moved) : x && toHost(kernelName, xla, host, x as TensorInfo)
  const given = Array.isArray(inputs)
    ? moved(inputs as readonly TensorInfo[])
    : Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, moved(x as TensorInfo)]))
  const result = kernel.kernelFunc({ inputs: given, attrs, backend: host } as unknown as Parameters<KernelFunc>[0])
  return Array.isArray(result) ? result.map(r => fromHost(xla, host, r)) : fromHost(xla, host, result)
}

function toHost(kernelName: string, xla: XlaBackend, host: Host, x: TensorInfo): TensorInfo {
  if (x.dtype === 'complex64') {
    const { real, imag } = xla.complexParts(x)
    const dataId = {}
    const complexTensorInfos = {
      real: toHost(kernelName, xla, host, { ...real, shape: x.shape }),
      imag: toHost(kernelName, xla, host, { ...imag, shape: x.shape }),
    }
    host.data.set(dataId, { dtype: x.dtype, complexTensorInfos, refCount: 1 })
    return { dataId, shape: x.shape, dtype: x.dtype }
  }
  return host.makeTensorInfo(x.shape, x.dtype, xla.valuesFor(kernelName, x))
}

function fromHost(xla: XlaBackend, host: Host, { dataId, shape, dtype }: TensorInfo): TensorInfo {
  const { values, complexTensorInfos } = host.data.get(dataId)
  if (!complexTensorInfos) return { dataId: xla.write(values!, shape, dtype), shape, dtype }
  const parts = [complexTensorInfos.real, complexTensorInfos.imag].map(part =>
    fromHost(xla, host, { ...part, shape }),
  ) as [TensorInfo, TensorInfo]
  const result = xla.complex(...parts)
  parts.forEach(part => xla.disposeData(part.dataId))
  return result
}

/** Whether the device cannot store the tensor. */
export const onHost = (dtype: DataType): boolean => dtype === 'string' || dtype === 'complex64'
