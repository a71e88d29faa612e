import type * as tf from '@tensorflow/tfjs-core'
import { backend, onXla } from './backend.js'
import type { Node } from './graph.js'
import * as hlo from './hlo.js'
import { ifNodes } from './loops.js'
import { runsByKernel } from './nans.js'
import { layOut, recorded, results } from './recorded.js'
import type { Recorded } from './recorded.js'
import { tensorsLike, tensorsOf, withTensors } from './tree.js'
import type { TensorTree } from './tree.js'

/** One of two branches, chosen on the device. Both return the same structure, shapes and types.
 *
 * Differentiable (once) with regard to what the branches close over. The gradient is the chosen branch's: it keeps nothing of
 * the branch and computes it anew.
 * @param predicate a bool scalar */
export function cond<T extends TensorTree>(predicate: tf.Tensor, onTrue: () => T, onFalse: () => T): T {
  if (!onXla() || runsByKernel()) return predicate.dataSync()[0] ? onTrue() : onFalse()
  const test = backend().node(predicate)
  let tree!: T
  const yes = recorded('cond', [], () => tensorsOf((tree = onTrue())))
  const no = recorded('cond', [], () => tensorsLike(tree, onFalse(), 'cond: the second branch'))
  const outputs = ifNodes(
    'cond',
    test,
    () => layOut(yes, yes.outputs, [], []),
    () => layOut(no, no.outputs, [], []),
  )
  const sources = [...new Set([...yes.closed, ...no.closed])]
  const gradient = yes.vjp && {
    reads: [test],
    pullback: (cotangents: Node[]) => backward(test, yes, no, sources, cotangents),
  }
  return withTensors(tree, results('cond', sources, outputs, [yes.trace, no.trace], gradient))
}

/** The chosen branch's gradients of `sources`; zeros of what only the other one reads. */
function backward(test: Node, yes: Recorded, no: Recorded, sources: tf.Tensor[], given: Node[]): (Node | null)[] {
  const [ofYes, ofNo] = [yes, no].map(({ vjp, closed }) =>
    sources.map(t => vjp!.gradients[closed.indexOf(t)] ?? null),
  ) as [Gradients, Gradients]
  const either = sources.map((_, i) => ofYes[i] ?? ofNo[i]!)
  const branch = (recorded: Recorded, roots: Gradients) => () => {
    const nodes = layOut(recorded, roots, recorded.vjp!.cotangents, given)
    return either.flatMap((g, i) => (g ? [nodes[i] ?? hlo.like(g, 0)] : []))
  }
  const floats = ifNodes('cond', test, branch(yes, ofYes), branch(no, ofNo))[Symbol.iterator]()
  return either.map(g => g && floats.next().value!)
}

type Gradients = (Node | null)[]
