import { Script } from 'node:vm'

const RUN = Symbol.for('rewardlab.withinTime')
const script = new Script(`globalThis[Symbol.for('rewardlab.withinTime')]()`)

/** What a function returns, if it takes no longer than so many milliseconds: V8 ends it otherwise, within a regular expression, too.
 * Costs the start of a thread, some 50 µs.
 * @param where names in the error what took too long, and what to do */
export function withinTime<T>(milliseconds: number, where: string, run: () => T): T {
  const scope = globalThis as { [RUN]?: () => T }
  const outer = scope[RUN]
  scope[RUN] = run
  try {
    return script.runInThisContext({ timeout: milliseconds }) as T
  } catch (error) {
    if ((error as NodeJS.ErrnoException | null)?.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
    throw new Error(`${where}: not done after ${milliseconds / 1000} s, and was stopped.`, { cause: error })
  } finally {
    scope[RUN] = outer
  }
}
