import * as tf from '@tensorflow/tfjs-core'
import { backend, onXla } from './backend.js'
import { Trace } from './graph.js'
import type { Node } from './graph.js'
import { ifNodes, whileNodes } from './loops.js'
import { record, withoutTape } from './record.js'
import { scanKernel, stepsOf } from './scan.js'
import type { ScanBody, ScanOptions } from './scan.js'
import { tensorsOf, withTensors } from './tree.js'
import type { TensorTree } from './tree.js'

/** Carries a state over the leading axis of `xs`: `[carry, y] = body(carry, x)` for each slice x, ys stacked.
 *
 * One loop in one program, whatever the length; differentiable with regard to `init`, `xs` and what the body closes over.
 * @param init the first carry; its shapes and types stay
 * @param xs tensors [N, …], or null with `options.length`
 * @returns the last carry, and ys [N, …]
 * @throws Error if leading axes differ, or the carry changes shape */
export function scan<C extends TensorTree, X extends TensorTree | null, Y extends TensorTree | null>(
  body: ScanBody<C, X, Y>,
  init: C,
  xs: X,
  options: ScanOptions = {},
): [carry: C, ys: Y] {
  if (onXla())
    return scanKernel(
      body as unknown as ScanBody<TensorTree, TensorTree, TensorTree>,
      init,
      xs as TensorTree,
      options,
    ) as [C, Y]
  const slices = tensorsOf(xs)
  const steps = stepsOf(slices, options.length)
  const ys: (Y | undefined)[] = Array.from({ length: steps })
  let carry = init
  for (let k = 0; k < steps; k++) {
    const i = options.reverse ? steps - 1 - k : k
    const x = withTensors(
      xs,
      slices.map(t => tf.squeeze(tf.slice(t, [i], [1]), [0])),
    )
    ;[carry, ys[i]] = body(carry, x)
  }
  const columns = ys.map(y => tensorsOf(y))
  return [
    carry,
    withTensors(
      ys[0] as Y,
      columns[0]!.map((_, c) => tf.stack(columns.map(y => y[c]!))),
    ),
  ]
}

/** Runs `body` on a state while `test` holds, inside one program: the number of steps need not be known.
 * Not differentiable.
 * @param test returns a bool scalar
 * @param init the first state; its shapes and types stay */
export function whileLoop<S extends TensorTree>(test: (state: S) => tf.Tensor, body: (state: S) => S, init: S): S {
  if (!onXla()) {
    let state = init
    while (test(state).dataSync()[0]) state = body(state)
    return state
  }
  const xla = backend()
  const within = (f: (state: S) => TensorTree) => (nodes: Node[]) =>
    record(Trace.current!, () =>
      tensorsOf(
        f(
          withTensors(
            init,
            nodes.map(n => xla.tensor(n)),
          ),
        ),
      ).map(t => xla.node(t)),
    )
  const results = withoutTape(() =>
    whileNodes(
      body.name || 'whileLoop',
      tensorsOf(init).map(t => xla.node(t)),
      nodes => within(test)(nodes)[0]!,
      within(body),
    ),
  )
  return withTensors(
    init,
    results.map(n => xla.tensor(n)),
  )
}

/** One of two branches, chosen on the device. Both return the same shapes and types. Not differentiable. */
export function cond<T extends TensorTree>(predicate: tf.Tensor, onTrue: () => T, onFalse: () => T): T {
  if (!onXla()) return predicate.dataSync()[0] ? onTrue() : onFalse()
  const xla = backend()
  let tree: T | undefined
  const branch = (f: () => T) => () => record(Trace.current!, () => tensorsOf((tree = f())).map(t => xla.node(t)))
  const results = withoutTape(() => ifNodes('cond', xla.node(predicate), branch(onTrue), branch(onFalse)))
  return withTensors(
    tree!,
    results.map(n => xla.tensor(n)),
  )
}
