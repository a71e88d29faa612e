import * as tf from '@tensorflow/tfjs-core'
import type { KernelFunc, TensorInfo } from '@tensorflow/tfjs-core'
import { BACKEND } from '../backend.js'
import type { XlaBackend } from '../backend.js'
import type { Node } from '../graph.js'

/** Registers a kernel that maps nodes to nodes. */
export function kernel<Inputs extends object, Attrs extends object = object>(
  kernelName: string,
  record: (inputs: { [K in keyof Inputs]: Node }, attrs: Attrs) => Node | Node[],
): void {
  rawKernel(kernelName, (backend, inputs, attrs) => {
    const nodes: Record<string, Node> = {}
    for (const [name, input] of Object.entries(inputs)) if (input) nodes[name] = backend.node(input as TensorInfo)
    const result = record(nodes as { [K in keyof Inputs]: Node }, attrs as Attrs)
    return Array.isArray(result) ? result.map(node => backend.info(node)) : backend.info(result)
  })
}

/** Registers a kernel over a list of tensors, such as Concat. */
export function listKernel<Attrs extends object = object>(
  kernelName: string,
  record: (inputs: Node[], attrs: Attrs) => Node | Node[],
): void {
  rawKernel(kernelName, (backend, inputs, attrs) => {
    const result = record(
      Object.values(inputs).map(input => backend.node(input as TensorInfo)),
      attrs as Attrs,
    )
    return Array.isArray(result) ? result.map(node => backend.info(node)) : backend.info(result)
  })
}

/** Registers a kernel that works on tensors themselves. */
export function rawKernel(
  kernelName: string,
  run: (backend: XlaBackend, inputs: Record<string, TensorInfo>, attrs: object) => TensorInfo | TensorInfo[],
): void {
  const kernelFunc: KernelFunc = ({ inputs, backend, attrs }) =>
    run(backend as XlaBackend, inputs as Record<string, TensorInfo>, (attrs ?? {}) as object)
  tf.registerKernel({ kernelName, backendName: BACKEND, kernelFunc })
}

/** Axes of a tfjs attribute as non-negative numbers, ascending. */
export function axesOf(axis: number | number[] | undefined | null, shape: readonly number[]): number[] {
  return tf.util.parseAxisParam(axis as number | number[], [...shape]).sort((a, b) => a - b)
}
