/* rewardlab/xla: the engine behind tfjs.
 *
 *   start           chooses the backend, once
 *   jit             one compiled program a signature
 *   scan, whileLoop, cond      loops and branches inside a program
 *   checkpoint      less memory for a gradient, more computation
 *   mesh, shard, constrain     tensors and programs on several devices
 *   dynamicSlice, dynamicUpdateSlice
 *   astype, typeOf, autocast, wideMatMul   element types
 *   quantizeNf4, dequantizeNf4, matMulNf4      4-bit matrices
 *   copy                       memory of its own
 *   random          counter-based random numbers with keys
 *   sync            runs what was recorded
 *   stats, memory, profile     what the engine does
 *   debugNans       where NaN comes from */
import { backend, onXla } from './backend.js'
import { deviceMemory, holdings } from './pjrt/room.js'
import type { DeviceMemory, Holding } from './pjrt/room.js'
import * as random from './random.js'
import type { Stats } from './stats.js'
import type { ElementType } from './types.js'
import type * as tf from '@tensorflow/tfjs-core'

export { autocast } from './autocast.js'
export { onXla } from './backend.js'
export { checkpoint } from './checkpoint.js'
export { cond } from './cond.js'
export { scan } from './scan.js'
export type { ScanBody, ScanOptions } from './scan.js'
export { whileLoop } from './whileLoop.js'
export type { WhileOptions } from './whileLoop.js'
export { jit } from './jit.js'
export type { Jitted, JitOptions } from './jit.js'
export { constrain, mesh, placement, shard } from './mesh.js'
export type { Mesh, Spec } from './sharding.js'
export { packageRoot } from './plugins.js'
export { astype, copy, dynamicSlice, dynamicUpdateSlice, storesHalf, typeOf, unstack, wideMatMul } from './slices.js'
export { dequantizeNf4, isNf4, matMulNf4, quantizeNf4, shapeOfNf4 } from './nf4.js'
export type { Nf4 } from './nf4.js'
export { start, startProblems } from './start.js'
export type { StartOptions } from './start.js'
export type { GpuOptions } from './gpuOptions.js'
export { disposeTree, eachTensor, mapTensors, tensorsOf, withTensors } from './tree.js'
export type { ArgumentTree, TensorTree, Tree } from './tree.js'
export type { ElementType } from './types.js'
export { debugNans, NanError } from './nans.js'
export { productFlops } from './productFlops.js'
export { profile } from './profile.js'
export type { ChromeTrace, TraceEvent } from './profile.js'
export { OutOfMemoryError } from './pjrt/errors.js'
export type { DeviceMemory, Holding } from './pjrt/room.js'
export type { Stats } from './stats.js'
export { random }

/** Runs everything recorded so far that a tensor still holds. */
export async function sync(): Promise<void> {
  if (onXla()) await backend().engine.finish()
}

/** What the engine did so far; null on a stock backend. */
export function stats(): Stats | null {
  return onXla() ? structuredClone(backend().engine.stats) : null
}

export interface Memory {
  /** Device buffers alive, their bytes now and at most. */
  buffers: number
  bytes: number
  peakBytes: number
  /** Bytes now on each device. */
  devices: number[]
  /** What each device's plugin says of all its memory; null where it says nothing, as for the CPU. */
  reported: (DeviceMemory | null)[]
  /** What the buffers hold, by shape and type, largest first. */
  holdings: Holding[]
}

/** Device memory that tensors hold; null on a stock backend. */
export function memory(): Memory | null {
  if (!onXla()) return null
  const { client } = backend().engine
  return {
    buffers: client.liveBuffers,
    bytes: client.liveBytes,
    peakBytes: client.peakBytes,
    devices: [...client.bytesOn],
    reported: client.devices.map(device => deviceMemory(client, device)),
    holdings: holdings(client),
  }
}

/** A tensor from bytes in the device's layout (little-endian, row-major), such as bf16 weights from a file. */
export function fromBytes(bytes: Uint8Array, shape: readonly number[], type: ElementType): tf.Tensor {
  return backend().upload(bytes, shape, type)
}

/** The platform, its version and the devices in use; null on a stock backend. */
export function platform(): {
  platform: string
  version: string
  plugin: string
  api: string
  devices: string[]
} | null {
  if (!onXla()) return null
  const { client } = backend().engine
  return {
    platform: client.platform,
    version: client.platformVersion,
    plugin: client.api.path,
    api: client.api.version,
    devices: client.devices.map(d => client.describe(d)),
  }
}
