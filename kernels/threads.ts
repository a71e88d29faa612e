import type { Header, Message, Outgoing } from './wire.js'

/** What the main thread tells the runtime. */
export type ToRuntime =
  | { readonly kind: 'shell' | 'stdin'; readonly message: Message; readonly number: number }
  | { readonly kind: 'interrupt'; readonly id: number }
  | { readonly kind: 'shutdown' }

export type StreamName = 'stdout' | 'stderr'

/** Text that a cell prints. */
export interface Print {
  readonly name: StreamName
  readonly text: string
  readonly parent: Header | undefined
}

/** What the runtime tells the main thread: text to gather, and messages ready to be signed. */
export type FromRuntime = Outgoing | Print

/** Slots of the shared Int32Array: the last interrupt the runtime has seen; how much work is under way that must not be
 * terminated half-way, since its state would be lost (set-up, the compiler, the loading of packages, the interrupt itself), or
 * TERMINATING; the last interrupt that terminated JavaScript; the last one after which the runtime's event loop turned again; 1 while work is
 * under way that would be lost, but may hang; and the number of the last message that the runtime has taken. */
export const SEEN = 0
export const WHOLE = 1
export const TERMINATED = 2
export const SETTLED = 3
export const PATIENT = 4
export const TAKEN = 5
export const SLOTS = 6

/** In WHOLE: a termination is on its way. */
export const TERMINATING = -1
