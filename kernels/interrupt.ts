import { Session } from 'node:inspector'
import type { Worker } from 'node:worker_threads'
import { PATIENT, SEEN, SETTLED, TERMINATED, TERMINATING, WHOLE, type ToRuntime } from './threads.js'

/** Milliseconds a runtime may take to notice an interrupt before its JavaScript is terminated; and then, doubled each time,
 * to come to rest before that happens again. */
const GRACE = 200
/** Further ones where a training run or a program is under way: a busy machine may keep its thread from noticing. */
const PATIENCE = 2000
const AGAIN = 50
const POLL = 10

/** Returns the interrupt of a runtime. It first asks: the runtime aborts the signal of its cell, which frees code that
 * awaits. If the request is not seen within the grace, a loop holds the thread, and V8 ends it; again, if what it had
 * scheduled (process.nextTick) holds the thread anew. A termination may land in the runtime's own code and take the request
 * with it, or a message that was being handed over: after each the runtime is sent again what it has not taken, and asked
 * again. It starts no work that must be whole while a termination is on its way.
 *
 * V8 drops the pending microtasks of what it terminates, and no `finally` runs; with async_hooks (AsyncLocalStorage)
 * in the worker, Node 20 and 22 would abort the process, so the runtime uses none. A native call cannot be cancelled. */
export function interrupter(worker: Worker, flags: Int32Array, resend: () => void): () => void {
  const inspector = new Session()
  let worklet: string | undefined
  let count = 0
  let landed = () => {}
  inspector.connect()
  inspector.on('NodeWorker.attachedToWorker', ({ params }) => (worklet = params.sessionId))
  inspector.on('NodeWorker.receivedMessageFromWorker', () => landed()) // the answer to a termination
  inspector.post('NodeWorker.enable', { waitForDebuggerOnStart: false })

  return () => {
    const id = ++count
    const ask = () => worker.postMessage({ kind: 'interrupt', id } satisfies ToRuntime)
    let seen = false
    let again = AGAIN
    let deadline = performance.now() + GRACE
    const wait = () => {
      deadline = performance.now() + again
      again *= 2
    }
    const timer = setInterval(() => {
      if (Atomics.load(flags, SETTLED) >= id) return clearInterval(timer)
      if (!seen && (seen = Atomics.load(flags, SEEN) >= id)) wait()
      const patience = Atomics.load(flags, PATIENT) * PATIENCE
      if (performance.now() < deadline + patience || worklet === undefined) return
      if (Atomics.compareExchange(flags, WHOLE, 0, TERMINATING) !== 0) return
      if (Atomics.load(flags, SETTLED) >= id) return void Atomics.store(flags, WHOLE, 0)
      landed = () => {
        Atomics.store(flags, WHOLE, 0)
        wait()
        resend()
        ask()
      }
      Atomics.store(flags, TERMINATED, id)
      const message = JSON.stringify({ id, method: 'Runtime.terminateExecution' })
      inspector.post('NodeWorker.sendMessageToWorker', { sessionId: worklet, message })
      ask() // a runtime that is idle by now needs some JavaScript for the termination to land in
    }, POLL)
    ask()
  }
}
