import { backend, onXla } from './backend.js'
import type { Node, Trace, ValueType } from './graph.js'
import * as hlo from './hlo.js'
import { ifNodes } from './loops.js'
import { runsByKernel } from './nans.js'
import { ancestors } from './print.js'
import { taping } from './record.js'
import { layOut, recorded, results } from './recorded.js'
import { tensorsOf, withTensors } from './tree.js'
import { isFloat } from './types.js'

/** Gradient checkpointing: the same function, whose gradient keeps what the function reads, not what it computes on the way,
 * and computes that anew. As jax.checkpoint and torch.utils.checkpoint.
 *
 * Differentiable (once) with regard to the tensors of its arguments and those it closes over. An optimization barrier ties what
 * is read to the cotangents, so that it is computed when the backward pass gets there, and not merged with the first time.
 * On a stock backend, and where no gradient is taken, `fn` simply runs. */
export function checkpoint<A extends unknown[], R>(fn: (...args: A) => R): (...args: A) => R {
  const name = fn.name || 'checkpoint'
  return (...args) => {
    if (!onXla() || runsByKernel() || !taping()) return fn(...args)
    const tensors = tensorsOf(args)
    const values = tensors.map(t => backend().node(t))
    let result: R
    const f = recorded(name, values, inputs => tensorsOf((result = fn(...withTensors(args, inputs)))))
    const { cotangents, gradients } = f.vjp!
    const roots = gradients.filter(g => g !== null)
    const pullback = (given: Node[]): (Node | null)[] => {
      const border = borderOf(f.trace, roots)
      const at = new Map([...f.inputs, ...cotangents].map((p, i) => [p, [...values, ...given][i]!]))
      const anew = () => layOut(f, roots, border, hlo.barrier(border.map(node => at.get(node) ?? node)))
      const computed = unmerged(name, given, roots, anew)[Symbol.iterator]()
      return gradients.map(g => g && computed.next().value!)
    }
    const outputs = layOut(f, f.outputs, f.inputs, values)
    const sources = [...tensors, ...f.closed]
    return withTensors(result!, results(name, sources, outputs, [f.trace], { reads: values, pullback }))
  }
}

/** The CPU plugin removes barriers before it merges equal computations for the last time (XLA's cse_barrier_expander). It does not
 * look into a branch that may not be taken.
 * @param given values of which it cannot know that they do not matter */
function unmerged(name: string, given: readonly Node[], types: readonly ValueType[], compute: () => Node[]): Node[] {
  const float = given.find(g => isFloat(g.type) && hlo.size(g) > 0)
  if (backend().engine.client.platform !== 'cpu' || !float) return compute()
  const origin = float.shape.map(() => 0)
  const first = hlo.slice(
    float,
    origin,
    origin.map(() => 1),
  )
  const bits = hlo.bitcast(hlo.convert(hlo.reshape(first, []), 'f32'), 's32')
  const always = hlo.compare('NE', hlo.binary('or', bits, hlo.like(bits, 1)), hlo.like(bits, 0))
  return ifNodes(name, always, compute, () => types.map(({ shape, type }) => hlo.fill(0, shape, type)))
}

/** Parameters of a trace and nodes from outside it that `roots` read. */
function borderOf(trace: Trace, roots: readonly Node[]): Node[] {
  const border: Node[] = []
  ancestors(
    roots,
    node => {
      const inside = node.literal || (node.trace === trace && node.op !== 'parameter')
      if (!inside) border.push(node)
      return !inside
    },
    () => undefined,
  )
  return border
}
