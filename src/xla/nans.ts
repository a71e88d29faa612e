import * as tf from '@tensorflow/tfjs-core'
import type { NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core'
import { backend } from './backend.js'
import type { XlaBackend } from './backend.js'
import { Trace } from './graph.js'
import type { Node } from './graph.js'
import * as hlo from './hlo.js'
import { isFloat } from './types.js'

/** The first operation that made a NaN. */
export class NanError extends Error {
  override name = 'NanError'
}

let checking = false
/** The jitted function that is being run kernel by kernel. */
let rerun: string | null = null

/** Finds where NaN comes from. While it is on, every kernel's result is checked at once, and an error names the first kernel with a NaN in
 * it, its line standing in the error's stack. A jitted function runs compiled, donating nothing; if its result has a NaN it runs again
 * kernel by kernel, loops and branches as JavaScript. Slow, and takes more memory: for debugging.
 * @param what `true` or `false` switches it on or off, a function runs with it on
 * @throws NanError from the operation that made the NaN */
export function debugNans(what: boolean): void
export function debugNans<T>(what: () => T): T
export function debugNans<T>(what: boolean | (() => T)): T | void {
  if (typeof what === 'boolean') {
    checking = what
    return
  }
  const before = checking
  const restore = () => void (checking = before)
  checking = true
  let result: T
  try {
    result = what()
  } catch (error) {
    restore()
    throw error
  }
  if (result instanceof Promise) return result.finally(restore) as T
  restore()
  return result
}

export const checksNans = (): boolean => checking

/** Whether loops and branches run as JavaScript, so that their kernels are checked one at a time. */
export const runsByKernel = (): boolean => checking && Trace.current === null

/** Whether a jitted function runs as it stands. */
export const rerunning = (): boolean => rerun !== null

/** @throws NanError if a kernel's results have NaN */
export function checkKernel(
  kernel: string,
  xla: XlaBackend,
  inputs: NamedTensorInfoMap,
  results: readonly TensorInfo[],
): void {
  if (Trace.current !== null) return
  const stored = results.filter(({ dtype }) => dtype === 'float32').map(info => xla.storage(info))
  const found = haveNan(stored.filter(node => node.pending)).indexOf(true)
  if (found < 0) return
  const given = Object.entries(inputs).flatMap(
    ([name, input]) => (input ? [input].flat() : []).map(info => `${name} ${described(xla, info)}`), // some kernels take a list under one name
  )
  throw new NanError(
    `xla.debugNans: ${rerun === null ? '' : `in "${rerun}", `}${kernel} gave ${described(xla, results[found]!)}` +
      `${given.length ? ` from ${given.join(', ')}` : ''}${caller()}.`,
  )
}

/** The line that asked for the operation: the first outside of the engine and of tfjs. */
function caller(): string {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 100
  const frames = new Error().stack?.split('\n').slice(1) ?? []
  Error.stackTraceLimit = limit
  const found = frames.find(frame => !/\/node_modules\/|\/src\/xla\/|node:|<anonymous>\)?$/.test(frame))
  return found ? `, ${found.trim()}` : ''
}

/** Which of the nodes hold a NaN. */
export function haveNan(nodes: readonly Node[]): boolean[] {
  const floats = nodes.filter(({ type }) => isFloat(type))
  if (floats.length === 0) return nodes.map(() => false)
  const flags = floats.map(node => hlo.reshape(hlo.reduce('or', hlo.isNaN(node), [...node.shape.keys()]), [1]))
  const flag = hlo.concatenate(flags, 0)
  flag.retain()
  try {
    const { engine } = backend()
    engine.materialize([...floats, flag])
    const read = engine.read(flag)
    return nodes.map(node => isFloat(node.type) && read[floats.indexOf(node)] !== 0)
  } finally {
    flag.release()
  }
}

/** Runs a jitted function kernel by kernel, after its program gave a NaN. @throws NanError in any case */
export function explainNan(name: string, where: string, f: () => unknown): never {
  const outer = rerun
  rerun = name
  try {
    tf.tidy(() => void f())
  } finally {
    rerun = outer
  }
  throw new NanError(
    `xla.debugNans: "${name}" gave NaN in ${where}, but none came up when it ran kernel by kernel: random numbers drawn while tracing ` +
      'differ, or the compiled program rounds otherwise.',
  )
}

/** A tensor's type, shape and values in short. */
function described(xla: XlaBackend, info: TensorInfo): string {
  if (info.dtype === 'string' || info.dtype === 'complex64') return `${info.dtype}[${info.shape.join(',')}]`
  const values = xla.readSync(info.dataId) as Float32Array
  let [low, high, nans] = [Infinity, -Infinity, 0]
  for (const value of values)
    if (Number.isNaN(value)) nans++
    else [low, high] = [Math.min(low, value), Math.max(high, value)]
  const range = low > high ? '' : ` between ${low.toPrecision(4)} and ${high.toPrecision(4)}`
  const share = nans === 0 ? '' : ` with ${nans} NaN of ${values.length}`
  return `${xla.storage(info).type}[${info.shape.join(',')}]${share}${range}`
}
