import { backend, onXla } from './backend.js'
import type { Node, Trace } from './graph.js'
import * as hlo from './hlo.js'
import { ancestors } from './print.js'
import { taping } from './record.js'
import { layOut, recorded, results } from './recorded.js'
import { tensorsOf, withTensors } from './tree.js'

/** Gradient checkpointing: the same function, whose gradient keeps what the function reads, not what it computes on the way,
 * and computes that anew. As jax.checkpoint and torch.utils.checkpoint.
 *
 * Differentiable (once) with regard to the tensors of its arguments and those it closes over. An optimization barrier over
 * what is read and the cotangents makes the compiler compute it anew, when the backward pass gets there.
 * On a stock backend, and where no gradient is taken, `fn` simply runs. */
export function checkpoint<A extends unknown[], R>(fn: (...args: A) => R): (...args: A) => R {
  const name = fn.name || 'checkpoint'
  return (...args) => {
    if (!onXla() || !taping()) return fn(...args)
    const tensors = tensorsOf(args)
    const values = tensors.map(t => backend().node(t))
    let result: R
    const f = recorded(name, values, inputs => tensorsOf((result = fn(...withTensors(args, inputs)))))
    const { cotangents, gradients } = f.vjp!
    const pullback = (given: Node[]): (Node | null)[] => {
      const parameters = [...f.inputs, ...cotangents]
      const border = borderOf(f.trace, gradients)
      const now = border.map(node => {
        const i = parameters.indexOf(node)
        return i < 0 ? node : [...values, ...given][i]!
      })
      return layOut(f, gradients, border, hlo.barrier(now))
    }
    const outputs = layOut(f, f.outputs, f.inputs, values)
    const sources = [...tensors, ...f.closed]
    return withTensors(result!, results(name, sources, outputs, [f.trace], { reads: values, pullback }))
  }
}

/** Parameters of a trace and nodes from outside it that `roots` read. */
function borderOf(trace: Trace, roots: readonly (Node | null)[]): Node[] {
  const border: Node[] = []
  ancestors(
    roots.filter(n => n !== null),
    node => {
      const inside = node.literal || (node.trace === trace && node.op !== 'parameter')
      if (!inside) border.push(node)
      return !inside
    },
    () => undefined,
  )
  return border
}
