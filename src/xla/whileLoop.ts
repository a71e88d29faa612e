import * as tf from '@tensorflow/tfjs-core'
import { backend, onXla } from './backend.js'
import { cond } from './cond.js'
import { whileNodes } from './loops.js'
import { runsByKernel } from './nans.js'
import { onTape, taping, withoutTape } from './record.js'
import { layOut, recorded, results } from './recorded.js'
import { scan } from './scan.js'
import { tensorsLike, tensorsOf, withTensors } from './tree.js'
import type { TensorTree } from './tree.js'

export interface WhileOptions {
  /** The loop ends after so many steps, whatever `test` says. This makes it differentiable: the backward pass keeps as many
   * states. */
  maxSteps?: number
}

type Test<S> = (state: S) => tf.Tensor
type Body<S> = (state: S) => S

/** Runs `body` on a state while `test` holds, inside one program: the number of steps need not be known.
 *
 * With `maxSteps` it is differentiable (once) with regard to `init` and what `body` closes over.
 * @param test returns a bool scalar
 * @param init the first state; its structure, shapes and types stay
 * @throws Error when a gradient is taken through a loop without `maxSteps` */
export function whileLoop<S extends TensorTree>(test: Test<S>, body: Body<S>, init: S, options: WhileOptions = {}): S {
  const { maxSteps } = options
  if (!onXla() || runsByKernel()) return eagerly(test, body, init, maxSteps ?? Infinity)
  if (maxSteps === undefined) return unbounded(test, body, init)
  if (!taping()) {
    const { state } = unbounded<{ i: tf.Tensor; state: S }>(
      ({ i, state }) => tf.logicalAnd(tf.less(i, maxSteps), test(state)),
      ({ i, state }) => ({ i: tf.add(i, tf.scalar(1, 'int32')), state: body(state) }),
      { i: tf.scalar(0, 'int32'), state: init },
    )
    return state
  }
  // The backward pass needs to know how many states to keep: a scan of maxSteps steps, in which a cond stops.
  const step = (state: S): [S, null] => {
    const next = cond(
      test(state),
      () => body(state),
      () => state,
    )
    return [next, null]
  }
  return scan(step, init, null, { length: maxSteps })[0]
}

/** Step after step; a step leaves its state behind and nothing else. */
function eagerly<S extends TensorTree>(test: Test<S>, body: Body<S>, init: S, maxSteps: number): S {
  const proceed = (state: S) => tf.tidy(() => test(state).dataSync()[0])
  const given = new Set(tensorsOf(init))
  let state = init
  for (let i = 0; i < maxSteps && proceed(state); i++) {
    const last = state
    state = tf.tidy(() => body(last) as tf.TensorContainer) as S
    const kept = new Set(tensorsOf(state))
    for (const t of tensorsOf(last)) if (!given.has(t) && !kept.has(t)) t.dispose()
  }
  return state
}

function unbounded<S extends TensorTree>(test: Test<S>, body: Body<S>, init: S): S {
  const name = body.name || 'whileLoop'
  const state = tensorsOf(init)
  const first = state.map(t => backend().node(t))
  const within = (f: (state: S) => tf.Tensor[]) =>
    withoutTape(() => recorded(name, first, inputs => f(withTensors(init, inputs))))
  const proceed = within(s => [test(s)])
  const step = within(s => tensorsLike(init, body(s), `${name}: the state`))
  const last = whileNodes(
    name,
    first,
    values => layOut(proceed, proceed.outputs, proceed.inputs, values)[0]!,
    values => layOut(step, step.outputs, step.inputs, values),
  )
  const tensors = results(name, [], last, [proceed.trace, step.trace], null)
  if (taping())
    onTape(name, [...state, ...step.closed], tensors, () => {
      throw new Error(
        `xla: a gradient of "${name}", a whileLoop: the number of its steps is not known. Give it { maxSteps }, or write it ` +
          'as a scan.',
      )
    })
  return withTensors(init, tensors)
}
