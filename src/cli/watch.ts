import { statfsSync } from 'node:fs'
import type { Row } from '../optimizers/index.js'
import { warnings, type Warning } from '../optimizers/warnings.js'
import type { WarningAction } from './experiment.js'

/** Looks out for what seems wrong with a run. */
export interface Watch {
  /** Takes a row, or a warning from elsewhere.
   * @returns a warning on which the run shall do something else than go on, if there is one */
  see(sight: Row | Warning): (Warning & { action: WarningAction }) | undefined
  /** Forgets the rows after a step, and that anything was told of them. */
  rewind(step: number): void
}

/** @param before rows of the run until now
 * @param actions by kind of warning; others are told
 * @param tell is told the first warning of each kind */
export function watch(
  before: readonly Row[],
  actions: Readonly<Record<string, WarningAction>>,
  tell: (warning: Warning) => void,
): Watch {
  let rows = [...before]
  const told = new Set<string>()
  return {
    see(sight) {
      if ('step' in sight) rows.push(sight)
      const found = 'step' in sight ? warnings(rows) : [sight]
      for (const warning of found) {
        if (!told.has(warning.kind)) tell(warning)
        told.add(warning.kind)
      }
      const [act] = found.flatMap(warning => {
        const action = actions[warning.kind] ?? 'warn'
        return action === 'warn' ? [] : [{ ...warning, action }]
      })
      return act
    },
    rewind(step) {
      rows = rows.filter(row => row.step <= step)
      told.clear()
    },
  }
}

/** A warning if the disk has no room for another checkpoint after the next.
 * @param bytes of a checkpoint */
export function diskWarning(dir: string, bytes: number): Warning | null {
  const { bavail, bsize } = statfsSync(dir)
  const free = bavail * bsize
  if (free >= 2 * bytes) return null
  const inMb = (size: number) => `${(size / 1e6).toFixed(0)} MB`
  return {
    kind: 'disk',
    text: `Disk nearly full: ${inMb(free)} are free at ${dir}, and a checkpoint takes ${inMb(bytes)}. Free some space, or set save_total_limit.`,
  }
}
