import * as tf from '@tensorflow/tfjs-core'
import { backend } from './backend.js'
import type { XlaBackend } from './backend.js'
import { Trace } from './graph.js'
import type { Node, ValueType } from './graph.js'
import * as hlo from './hlo.js'
import { substitute } from './loops.js'
import { onTape, record, taping, withoutTape } from './record.js'
import { isFloat } from './types.js'

/** A function of tensors as a graph: recorded once, and laid out wherever it is to be computed. */
export interface Recorded {
  name: string
  trace: Trace
  inputs: Node[]
  outputs: Node[]
  /** Tensors from outside that it reads. */
  closed: tf.Tensor[]
  /** Recorded if a gradient may be asked for. */
  vjp: VectorJacobianProduct | null
}

export interface VectorJacobianProduct {
  /** Of the outputs; null where one is no float. */
  cotangents: (Node | null)[]
  /** Of inputs and closed-over tensors, in their types; null where one is no float. They read `inputs` and `cotangents`. */
  gradients: (Node | null)[]
}

/** Records a function of tensors, and under a gradient its vector-Jacobian product beside it.
 *
 * Recording at once, and not again when the gradient is computed, means that variables of the closure may change and tensors
 * be disposed between the two. The gradient of the gradient is not recorded. */
export function recorded(name: string, types: readonly ValueType[], f: (inputs: tf.Tensor[]) => tf.Tensor[]): Recorded {
  const xla = backend()
  const differentiate = taping()
  const trace = new Trace(name)
  try {
    return withoutTape(() =>
      record(trace, () => {
        const mark: tf.Tensor = tf.scalar(0) // what is older comes from outside
        const outside = new Set<tf.Tensor>()
        trace.onOuterTensor = tensor => {
          if ((tensor as tf.Tensor).id < mark.id) outside.add(tensor as tf.Tensor)
        }
        const inputs = types.map(hlo.parameter)
        const tensors = inputs.map(node => xla.tensor(node))
        const result = differentiate
          ? withGradient(xla, f, tensors, outside, mark)
          : { outputs: f(tensors).map(t => xla.node(t)), closed: [...outside], vjp: null }
        for (const node of [...result.outputs, ...(result.vjp?.gradients ?? [])]) if (node) keep(trace, node)
        return { name, trace, inputs, ...result }
      }),
    )
  } catch (error) {
    trace.close()
    throw error
  }
}

/** @param outside grows while `f` runs
 * @param mark a tensor of no matter: tfjs refuses an empty list of sources */
function withGradient(
  xla: XlaBackend,
  f: (inputs: tf.Tensor[]) => tf.Tensor[],
  inputs: tf.Tensor[],
  outside: ReadonlySet<tf.Tensor>,
  mark: tf.Tensor,
): Pick<Recorded, 'outputs' | 'closed' | 'vjp'> {
  let outputs: Node[] = []
  let closed: tf.Tensor[] = []
  let cotangents: (Node | null)[] = []
  const sources = [mark] // tfjs reads the list after it ran the function, when all is known that belongs in it
  const { grads } = tf.engine().gradients(
    () => {
      const terms = f(inputs).map(t => {
        const node = xla.node(t)
        const cotangent = isFloat(node.type) ? hlo.parameter(node) : null
        return { node, cotangent, product: cotangent && tf.sum(tf.mul(t, xla.tensor(cotangent))) }
      })
      outputs = terms.map(t => t.node)
      cotangents = terms.map(t => t.cotangent)
      closed = [...outside]
      sources.push(...[...inputs, ...closed].filter(t => t.dtype === 'float32'))
      const products = terms.map(t => t.product).filter(p => p !== null)
      return products.reduce((a, b) => tf.add(a, b), tf.scalar(0))
    },
    sources,
    undefined,
    true,
  )
  const found = new Map(sources.map((t, i) => [t, grads[i]])) // none where nothing depends on it
  const gradients = [...inputs, ...closed].map(t => {
    const { shape, type } = xla.node(t)
    const gradient = found.get(t)
    if (gradient) return hlo.convert(xla.node(gradient), type)
    return isFloat(type) ? hlo.fill(0, shape, type) : null
  })
  return { outputs, closed, vjp: { cotangents, gradients } }
}

/** The nodes of `roots` in the current trace, with each of `parameters` replaced by its value. */
export function layOut<N extends Node | null>(
  { trace }: Recorded,
  roots: readonly N[],
  parameters: readonly (Node | null)[],
  values: readonly (Node | null)[],
): N[] {
  const at = new Map<Node, Node>()
  parameters.forEach((p, i) => p && at.set(p, values[i]!))
  const nodes = substitute(
    roots.filter(n => n !== null),
    at,
    trace,
  )[Symbol.iterator]()
  return roots.map(n => n && (nodes.next().value as N))
}

/** What computes an operation's gradient. */
export interface Gradient {
  /** Lazy nodes that are read. */
  reads: readonly Node[]
  /** From the cotangents of all outputs (of any value where one is no float) to the gradients of all sources (null where one
   * is no float). */
  pullback: (cotangents: Node[]) => (Node | null)[]
}

/** Tensors of an operation's outputs; with a gradient, the operation is put on tfjs's tape.
 * @param traces what was recorded for it; closed when nothing reads it any more */
export function results(
  name: string,
  sources: readonly tf.Tensor[],
  outputs: readonly Node[],
  traces: readonly [Trace, ...Trace[]],
  gradient: Gradient | null,
): tf.Tensor[] {
  const xla = backend()
  const tensors = outputs.map(node => xla.tensor(node))
  const release = () => traces.forEach(trace => trace.close())
  if (!gradient) {
    release()
    return tensors
  }
  const { reads, pullback } = gradient
  const cotangent = (output: Node, given: tf.Tensor | null | undefined) =>
    given ? hlo.convert(xla.node(given), output.type) : hlo.like(output, 0)
  for (const node of reads) keep(traces[0], node)
  onTape(
    name,
    sources,
    tensors,
    given =>
      pullback(outputs.map((output, i) => cotangent(output, given[i]))).map((node, i) => () => {
        const gradient = xla.tensor(node ?? hlo.fill(0, sources[i]!.shape, 'f32'))
        if (taping()) onlyOnce(name, [...sources, ...given.filter(t => t !== null)], gradient)
        return gradient
      }),
    release,
  )
  return tensors
}

function onlyOnce(name: string, sources: tf.Tensor[], gradient: tf.Tensor): void {
  onTape(name, sources, [gradient], () => {
    throw new Error(
      `xla: a second derivative of "${name}": scan, cond and checkpoint are differentiated once. Unroll the loop, or write the ` +
        'branches with tf.where.',
    )
  })
}

/** Holds a lazy node's values until the trace is closed. */
function keep(trace: Trace, node: Node): void {
  if (node.trace === null) trace.keep(node)
}
