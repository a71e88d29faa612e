import type { Message } from './wire.js'

/** What the main thread tells the runtime; the runtime answers with `Outgoing` messages, ready to be signed. */
export type ToRuntime =
  | { readonly kind: 'shell' | 'stdin'; readonly message: Message }
  | { readonly kind: 'interrupt'; readonly id: number }
  | { readonly kind: 'shutdown' }

/** Slots of the shared Int32Array: the last interrupt the runtime has seen, and whether the compiler runs (which must
 * not be terminated half-way: its state would be lost). */
export const SEEN = 0
export const COMPILING = 1
