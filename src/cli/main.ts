#!/usr/bin/env node
import type { Command } from './command.js'

/** Every command and the file it lives in, loaded when it is asked for. */
const COMMANDS: Record<string, () => Promise<Command>> = {
  doctor: async () => (await import('./doctor.js')).doctorCommand,
  estimate: async () => (await import('./estimate.js')).estimateCommand,
  evaluate: async () => (await import('./evaluate.js')).evaluateCommand,
  forward: async () => (await import('./forward.js')).forwardCommand,
  generate: async () => (await import('./generate.js')).generateCommand,
  score: async () => (await import('./score.js')).scoreCommand,
  sweep: async () => (await import('./sweep.js')).sweepCommand,
  train: async () => (await import('./train.js')).trainCommand,
}

/** Runs `rewardlab <command> …`.
 * @returns exit code: 0 done, 1 failed, with one line on stderr (`--json`: an object with `error` on stdout) */
export async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv
  if (name === undefined || name === '--help' || name === 'help') {
    console.log(await overview())
    return 0
  }
  const json = rest.includes('--json')
  const args = rest.filter(arg => arg !== '--json')
  try {
    const load = COMMANDS[name]
    if (!load)
      throw new Error(
        `unknown command "${name}", needed one of ${Object.keys(COMMANDS).join(', ')}. See rewardlab --help.`,
      )
    const command = await load()
    if (args.includes('--help')) console.log(command.help)
    else await command.run(args, (text, object) => console.log(json ? JSON.stringify(object) : text))
    return 0
  } catch (error) {
    const message = (error as Error).message.replace(/\s*\n\s*/g, ' ')
    if (json) console.log(JSON.stringify({ error: message }))
    else console.error(`rewardlab ${name}: ${message}`)
    return 1
  }
}

async function overview(): Promise<string> {
  const lines = await Promise.all(
    Object.entries(COMMANDS).map(async ([name, load]) => `  ${name.padEnd(10)} ${(await load()).summary}`),
  )
  return `Usage: rewardlab COMMAND …\n\n${lines.join('\n')}\n\nEvery command has --help and --json.`
}

process.exitCode = await main(process.argv.slice(2))
