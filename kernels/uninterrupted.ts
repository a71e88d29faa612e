import { workerData } from 'node:worker_threads'
import { WHOLE } from './threads.js'

const flags = workerData as Int32Array

/** Runs work that an interrupt must not end half-way. */
export function uninterrupted<T>(work: () => T): T {
  enter()
  try {
    return work()
  } finally {
    Atomics.sub(flags, WHOLE, 1)
  }
}

/** The same for work that awaits. The cell is freed all the same when it does. */
export async function uninterruptedAsync<T>(work: () => Promise<T>): Promise<T> {
  enter()
  try {
    return await work()
  } finally {
    Atomics.sub(flags, WHOLE, 1)
  }
}

/** While a termination is on its way it waits here, where nothing is lost yet: the termination ends this loop. */
function enter(): void {
  for (;;) {
    const depth = Atomics.load(flags, WHOLE)
    if (depth >= 0 && Atomics.compareExchange(flags, WHOLE, depth, depth + 1) === depth) return
  }
}
