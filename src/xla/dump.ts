import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Executable } from './pjrt/client.js'

/** Where REWARDLAB_DUMP names a folder, writes each program there: `NAME-KEY.mlir`, its StableHLO, and `NAME-KEY.hlo.pb`, what the
 * compiler made of it (HloModuleProtoWithConfig).
 * @throws Error if the folder cannot be written */
export function dump(executable: Executable, key: string, text: string): void {
  const folder = process.env.REWARDLAB_DUMP
  if (!folder) return
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${executable.name}-${key.slice(0, 8)}`)
  writeFileSync(`${path}.mlir`, text)
  try {
    writeFileSync(`${path}.hlo.pb`, executable.optimized())
  } catch {
    // a plugin that does not give it
  }
}
