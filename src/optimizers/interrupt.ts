import { onInterrupt } from '../interrupt.js'

/** One course of a run's rows, from where its state stands. */
export interface Course {
  /** Why to end before the next program changes the state; the rows throw it. */
  stop?: { reason: unknown }
  /** A program that changes the state is on the device: it comes to its end, and the rows with it. */
  updating: boolean
}

/** Lets interrupts end a course while it makes a row.
 *
 * An interrupt of the cell asks the course to stop at its next program boundary. One that terminated JavaScript may have
 * ended the course's own, which then never answers: unless an update is on the device, the course is given up.
 * @param signal of the cell that asked for the row
 * @param notice called when the course is asked to stop; what it returns, when it has
 * @returns `given up` rejects in that case; `forget` is called at the end of the row, however it comes */
export function interruptible(
  course: Course,
  signal: AbortSignal | undefined,
  notice: () => () => void,
): { givenUp: Promise<never>; forget: () => void } {
  let stopped: (() => void) | undefined
  let giveUp: (reason: unknown) => void
  const givenUp = new Promise<never>((_, reject) => (giveUp = reject))
  const stop = (): void => {
    course.stop = { reason: signal!.reason }
    stopped = notice()
  }
  const interrupted = (terminated: boolean): void => {
    if (!terminated || course.updating) return
    course.stop ??= { reason: new Error('The code of the run was interrupted.') }
    giveUp(course.stop.reason)
  }
  signal?.addEventListener('abort', stop, { once: true })
  const unheard = onInterrupt(interrupted)
  const forget = (): void => {
    signal?.removeEventListener('abort', stop)
    unheard()
    stopped?.()
  }
  return { givenUp, forget }
}

/** Rejects with the reason of the cell's interrupt once that had to terminate JavaScript: promises that were about to go on may
 * never do. `forget` ends the watch. */
export function terminated(signal: AbortSignal | undefined): { rejects: Promise<never>; forget: () => void } {
  let forget = () => {}
  const rejects = new Promise<never>((_, reject) => {
    forget = onInterrupt(terminated => {
      if (terminated) setImmediate(() => signal?.aborted && reject(signal.reason as Error))
    })
  })
  return { rejects, forget }
}
