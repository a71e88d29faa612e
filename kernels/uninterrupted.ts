import { workerData } from 'node:worker_threads'
import { COMPILING } from './threads.js'

const flags = workerData as Int32Array

/** Runs work that an interrupt must not end half-way. */
export function uninterrupted<T>(work: () => T): T {
  Atomics.store(flags, COMPILING, 1)
  try {
    return work()
  } finally {
    Atomics.store(flags, COMPILING, 0)
  }
}
