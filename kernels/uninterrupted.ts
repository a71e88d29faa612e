import { workerData } from 'node:worker_threads'
import { WHOLE } from './threads.js'

const flags = workerData as Int32Array

/** Runs work that an interrupt must not end half-way. */
export function uninterrupted<T>(work: () => T): T {
  Atomics.add(flags, WHOLE, 1)
  try {
    return work()
  } finally {
    Atomics.sub(flags, WHOLE, 1)
  }
}

/** The same for work that awaits. The cell is freed all the same when it does. */
export async function uninterruptedAsync<T>(work: () => Promise<T>): Promise<T> {
  Atomics.add(flags, WHOLE, 1)
  try {
    return await work()
  } finally {
    Atomics.sub(flags, WHOLE, 1)
  }
}
