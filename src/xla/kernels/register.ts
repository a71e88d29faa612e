import * as tf from '@tensorflow/tfjs-core'
import type { KernelFunc, TensorInfo } from '@tensorflow/tfjs-core'
import { BACKEND } from '../backend.js'
import type { XlaBackend } from '../backend.js'
import type { Node } from '../graph.js'
import { checkKernel, checksNans } from '../nans.js'
import { onHost, runOnHost } from './host.js'

/** Registers a kernel that maps nodes to nodes. Strings and complex numbers go to the host. */
export function kernel<Inputs extends object, Attrs extends object = object>(
  kernelName: string,
  record: (inputs: { [K in keyof Inputs]: Node }, attrs: Attrs) => Node | Node[],
): void {
  rawKernel(kernelName, (backend, inputs, attrs) => {
    const present = Object.entries(inputs).filter(([, input]) => input)
    if (present.some(([, input]) => onHost(input.dtype))) return runOnHost(kernelName, backend, inputs, attrs)
    const nodes = Object.fromEntries(present.map(([name, input]) => [name, backend.node(input)]))
    return infos(backend, record(nodes as { [K in keyof Inputs]: Node }, attrs as Attrs))
  })
}

/** Registers a kernel over a list of tensors, such as Concat. */
export function listKernel<Attrs extends object = object>(
  kernelName: string,
  record: (inputs: Node[], attrs: Attrs) => Node | Node[],
): void {
  rawKernel(kernelName, (backend, inputs, attrs) => {
    const list = Object.values(inputs)
    if (list.some(input => onHost(input.dtype))) return runOnHost(kernelName, backend, list, attrs)
    return infos(
      backend,
      record(
        list.map(input => backend.node(input)),
        attrs as Attrs,
      ),
    )
  })
}

/** Registers kernels that run on the host from the values of their inputs, since the shapes of their results depend on them. */
export function hostKernels(...kernelNames: string[]): void {
  for (const name of kernelNames) rawKernel(name, (backend, inputs, attrs) => runOnHost(name, backend, inputs, attrs))
}

/** Registers a kernel that works on tensors themselves. */
export function rawKernel(
  kernelName: string,
  run: (backend: XlaBackend, inputs: Record<string, TensorInfo>, attrs: object) => TensorInfo | TensorInfo[],
): void {
  const kernelFunc: KernelFunc = ({ inputs, backend, attrs }) => {
    const result = run(backend as XlaBackend, inputs as Record<string, TensorInfo>, attrs ?? {})
    if (checksNans()) checkKernel(kernelName, backend as XlaBackend, inputs, [result].flat())
    return result
  }
  tf.registerKernel({ kernelName, backendName: BACKEND, kernelFunc })
}

const infos = (backend: XlaBackend, result: Node | Node[]): TensorInfo | TensorInfo[] =>
  Array.isArray(result) ? result.map(node => backend.info(node)) : backend.info(result)

/** Axes of a tfjs attribute as non-negative numbers, ascending. */
export function axesOf(axis: number | number[] | undefined | null, shape: readonly number[]): number[] {
  return tf.util.parseAxisParam(axis as number | number[], [...shape]).sort((a, b) => a - b)
}
