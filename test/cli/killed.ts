import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

/** Trains with `--resume` in a process of its own, which `kill` may end with SIGKILL: it is given each line of progress.
 * @returns whether the training came to its end
 * @throws what the command says when it fails by itself */
export function trainedUnlessKilled(
  config: string,
  environment: NodeJS.ProcessEnv,
  kill: (told: string, now: () => void) => void,
): Promise<boolean> {
  const child = spawn(process.execPath, [main, 'train', config, '--resume'], {
    env: { ...process.env, ...environment },
  })
  const now = () => void child.kill('SIGKILL')
  let told = ''
  child.stderr.on('data', (text: Buffer) => {
    told += text.toString()
    kill(text.toString(), now)
  })
  kill('', now)
  return new Promise((resolve, reject) =>
    child.on('exit', (code, signal) => {
      if (signal === 'SIGKILL') resolve(false)
      else if (code === 0) resolve(true)
      else reject(new Error(told))
    }),
  )
}
