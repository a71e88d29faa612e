import { Session } from 'node:inspector'
import type { Worker } from 'node:worker_threads'
import { SEEN, SETTLED, TERMINATED, WHOLE, type ToRuntime } from './threads.js'

/** Milliseconds a runtime may take to notice an interrupt before its JavaScript is terminated. */
const GRACE = 200

/** Returns the interrupt of a runtime. It first asks: the runtime aborts the signal of its cell, which frees code that
 * awaits. If the request is not seen within the grace, a loop holds the thread, and V8 ends it; again, if what it had
 * scheduled (process.nextTick) holds the thread anew.
 *
 * V8 drops the pending microtasks of what it terminates, and no `finally` runs; with async_hooks (AsyncLocalStorage)
 * in the worker, Node 20 and 22 would abort the process, so the runtime uses none. A native call cannot be cancelled. */
export function interrupter(worker: Worker, flags: Int32Array): () => void {
  const inspector = new Session()
  let worklet: string | undefined
  let count = 0
  inspector.connect()
  inspector.on('NodeWorker.attachedToWorker', ({ params }) => (worklet = params.sessionId))
  inspector.post('NodeWorker.enable', { waitForDebuggerOnStart: false })

  return () => {
    const id = ++count
    worker.postMessage({ kind: 'interrupt', id } satisfies ToRuntime)
    let seen = false
    const timer = setInterval(() => {
      if (Atomics.load(flags, SETTLED) >= id || worklet === undefined) return clearInterval(timer)
      const justSeen = !seen && (seen = Atomics.load(flags, SEEN) >= id)
      if (justSeen || Atomics.load(flags, WHOLE) > 0) return
      Atomics.store(flags, TERMINATED, id)
      const message = JSON.stringify({ id, method: 'Runtime.terminateExecution' })
      inspector.post('NodeWorker.sendMessageToWorker', { sessionId: worklet, message })
    }, GRACE)
  }
}
