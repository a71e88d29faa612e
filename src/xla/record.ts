import * as tf from '@tensorflow/tfjs-core'
import type { Trace } from './graph.js'

/** Runs tfjs code inside a trace. Tensors it makes are let go when it ends, so `f` must return nodes. */
export function record<T>(trace: Trace, f: () => T): T {
  const engine = tf.engine()
  return trace.run(() => {
    engine.startScope(trace.name)
    try {
      return f()
    } finally {
      engine.endScope()
    }
  })
}

/** Runs `f` with no gradient tape of its caller, so that it may have one of its own, or none. */
export function withoutTape<T>(f: () => T): T {
  const { state } = tf.engine()
  const { gradientDepth, kernelDepth, activeTape } = state
  state.gradientDepth = 0
  state.kernelDepth = 0
  state.activeTape = undefined as never
  try {
    return f()
  } finally {
    state.gradientDepth = gradientDepth
    state.kernelDepth = kernelDepth
    state.activeTape = activeTape
  }
}

/** Whether tfjs records operations for a gradient right now. */
export function taping(): boolean {
  const { gradientDepth, kernelDepth } = tf.engine().state
  return gradientDepth > 0 && kernelDepth === 0
}

/** Puts an operation of many inputs and outputs on tfjs's tape.
 * @param pullback from the outputs' cotangents (null: zero) to the inputs' gradients, each made when it is asked for
 * @param release called when the tape is done with */
export function onTape(
  name: string,
  inputs: readonly tf.Tensor[],
  outputs: tf.Tensor[],
  pullback: (cotangents: readonly (tf.Tensor | null)[]) => (() => tf.Tensor)[],
  release: () => void = () => undefined,
): void {
  const { state } = tf.engine()
  state.activeTape.push({
    id: state.nextTapeNodeId++,
    kernelName: name,
    inputs: { ...inputs } as unknown as tf.NamedTensorMap,
    outputs,
    gradient: cotangents => ({ ...pullback(cotangents) }) as unknown as Record<string, () => tf.Tensor>,
    saved: [{ dispose: release } as tf.Tensor], // tfjs disposes what the tape holds when it is done
  })
}
