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
