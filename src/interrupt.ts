/* What interrupts of a notebook's cell mean here. The kernel puts these entries on the global object, so that nothing here imports
 * it; elsewhere they are missing, and nobody interrupts. */

interface Kernel {
  /** The running cell's signal. */
  [SIGNAL]?: () => AbortSignal | undefined
  /** Called at each interrupt, with whether it terminated JavaScript that held the thread: no `finally` of that has run, and promises
   * that were about to go on never do. */
  [INTERRUPTED]?: Set<(terminated: boolean) => void>
  /** Told whether to wait longer before that. */
  [PATIENCE]?: (patient: boolean) => void
}
const SIGNAL: unique symbol = Symbol.for('rewardlab.signal') as never
const INTERRUPTED: unique symbol = Symbol.for('rewardlab.interrupted') as never
const PATIENCE: unique symbol = Symbol.for('rewardlab.patience') as never
const kernel = globalThis as Kernel

/** The signal by which a notebook kernel interrupts the running cell, where there is one. */
export const interruptSignal = (): AbortSignal | undefined => kernel[SIGNAL]?.()

/** Calls `listener` at each interrupt, with whether that had to terminate JavaScript.
 * @returns a function that ends it */
export function onInterrupt(listener: (terminated: boolean) => void): () => void {
  kernel[INTERRUPTED]?.add(listener)
  return () => void kernel[INTERRUPTED]?.delete(listener)
}

/** Work under way, and whether it is ours; the last entered holds the thread, as far as one can tell. */
const entered = new Map<object, boolean>()
let repairs = false

/** Work that holds the thread for moments only, on a busy machine for longer ones, and is lost if it is terminated: an interrupt waits. */
export const patiently = <T>(work: () => Promise<T>): Promise<T> => during(true, work)

/** The user's code: a cell, or what such work calls. It may hold the thread for ever, and an interrupt ends it soon. */
export const impatiently = <T>(work: () => T | Promise<T>): Promise<T> => during(false, work)

async function during<T>(ours: boolean, work: () => T | Promise<T>): Promise<T> {
  if (kernel[PATIENCE] === undefined) return work()
  if (!repairs) onInterrupt(forget)
  repairs = true
  const key = {}
  entered.set(key, ours)
  tell()
  try {
    return await work()
  } finally {
    entered.delete(key)
    tell()
  }
}

function forget(terminated: boolean): void {
  if (!terminated) return
  entered.clear()
  tell()
}

function tell(): void {
  kernel[PATIENCE]!([...entered.values()].at(-1) ?? false)
}
