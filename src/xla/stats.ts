import type { Transfers } from './pjrt/client.js'

/** What the engine did so far: compilation, tracing and transfers are visible, never silent. */
export interface Stats {
  /** Programs compiled, and the time it took. */
  compiled: number
  compileMs: number
  /** Programs that an earlier process compiled, read from the cache on disk. */
  loaded: number
  loadMs: number
  /** Lazy graphs whose program was found in memory. */
  cacheHits: number
  /** Jitted functions traced, once per signature. */
  traced: number
  traceMs: number
  /** Why jitted functions were traced again, for example "step: argument 0.weights: f32[2,3] → f32[4,3]"; the last hundred. */
  retraces: string[]
  executed: number
  /** Kernels that ran on the host, after reading their inputs. */
  hostKernels: number
  /** Values copied to the device, and back. */
  uploads: Transfers
  reads: Transfers
}
