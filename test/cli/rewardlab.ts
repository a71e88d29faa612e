import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** Runs the command line in a process of its own.
 * @param environment set beside this process's; undefined removes a variable */
export function rewardlab(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return node([main, ...args], environment)
}

export function node(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const env = { ...process.env, ...environment }
  return new Promise(done =>
    execFile(process.execPath, args, { env }, (error, stdout, stderr) =>
      done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    ),
  )
}
