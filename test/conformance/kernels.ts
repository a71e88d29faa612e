import * as tf from '@tensorflow/tfjs-core'
import type { KernelBackend, TensorInfo } from '@tensorflow/tfjs-core'

/** Names of kernels with how often each ran. */
export type Counts = Map<string, number>

type Tensors = TensorInfo | null | undefined | readonly Tensors[]

/** Kernel calls of a run, told apart by where they ran. */
export interface KernelCounts {
  /** On the backend under test, those it handed to the host left out. */
  own: Counts
  /** On tfjs's CPU backend, for tensors of strings or complex numbers. */
  stringsAndComplex: Counts
  /** On tfjs's CPU backend, for other tensors. */
  host: Counts
  /** Backends that ran kernels under the name of the one under test. */
  backends: Set<KernelBackend>
}

/** Counts every kernel call from now on, wherever it runs: on the backend, or on tfjs's CPU backend behind it. */
export function countKernels(backendName: string): KernelCounts {
  const counts: KernelCounts = { own: new Map(), stringsAndComplex: new Map(), host: new Map(), backends: new Set() }
  const hidden = backendName === 'cpu' ? [] : tf.getKernelsForBackend('cpu')
  for (const config of tf.getKernelsForBackend(backendName))
    replace(config, parameters => {
      counts.backends.add(parameters.backend as KernelBackend)
      add(counts.own, config.kernelName, 1)
      return config.kernelFunc(parameters)
    })
  for (const config of hidden)
    replace(config, parameters => {
      const result = config.kernelFunc(parameters)
      const unstored = [...Object.values(parameters.inputs), result].some(holdsUnstored)
      add(unstored ? counts.stringsAndComplex : counts.host, config.kernelName, 1)
      add(counts.own, config.kernelName, -1)
      return result
    })
  return counts
}

function replace(config: tf.KernelConfig, kernelFunc: tf.KernelFunc): void {
  tf.unregisterKernel(config.kernelName, config.backendName)
  tf.registerKernel({ ...config, kernelFunc })
}

function add(counts: Counts, name: string, n: number): void {
  counts.set(name, (counts.get(name) ?? 0) + n)
}

/** Whether there is a tensor among these that a device does not store. */
const holdsUnstored = (x: Tensors): boolean =>
  isList(x) ? x.some(holdsUnstored) : x?.dtype === 'string' || x?.dtype === 'complex64'

const isList = (x: Tensors): x is readonly Tensors[] => Array.isArray(x)

export const total = (counts: Counts): number => [...counts.values()].reduce((sum, n) => sum + n, 0)
