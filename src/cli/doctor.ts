import { createRequire } from 'node:module'
import os from 'node:os'
import * as tf from '@tensorflow/tfjs-core'
import { jit, memory, platform, start, startProblems } from '../xla/index.js'
import { parse, type Command } from './command.js'

export interface Diagnosis {
  rewardlab: string
  node: string
  tfjs: string
  system: string
  cpus: number
  memory_gb: { total: number; free: number }
  /** The tfjs backend in use. */
  backend: string
  plugin: { path: string; api: string; platform: string; version: string; devices: string[] } | null
  /** Compiling and running one 512 × 512 matrix product. */
  check: { compile_ms: number; run_ms: number; correct: boolean } | null
  /** What is missing and how to get it. */
  problems: string[]
}

/** Looks at devices, plugin, versions and memory, and runs one small program.
 * @throws Error if a backend, device or plugin that the environment asks for cannot be had */
export async function doctor(): Promise<Diagnosis> {
  await start()
  const problems = [...startProblems()]
  const gb = (bytes: number) => Number((bytes / 2 ** 30).toFixed(1))
  const used = platform()
  const check = used && (await tryProgram())
  if (check && !check.correct) problems.push('A 512 × 512 matrix product came out wrong on this device.')
  const require = createRequire(import.meta.url)
  const version = (name: string) => (require(`${name}/package.json`) as { version: string }).version
  return {
    rewardlab: version('rewardlab'),
    node: process.version,
    tfjs: version('@tensorflow/tfjs-core'),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    cpus: os.availableParallelism(),
    memory_gb: { total: gb(os.totalmem()), free: gb(os.freemem()) },
    backend: tf.getBackend(),
    plugin: used && {
      path: used.plugin,
      api: used.api,
      platform: used.platform,
      version: used.version,
      devices: used.devices,
    },
    check,
    problems,
  }
}

async function tryProgram(): Promise<NonNullable<Diagnosis['check']>> {
  const n = 512
  const product = jit((a: tf.Tensor2D, b: tf.Tensor2D) => tf.matMul(a, b), { name: 'doctor' })
  const a = tf.ones<tf.Rank.R2>([n, n])
  const b = tf.fill<tf.Rank.R2>([n, n], 2)
  const timed = async () => {
    const began = performance.now()
    const result = await product.async(a, b)
    const values = await result.data()
    result.dispose()
    return { ms: performance.now() - began, correct: values.every(v => v === 2 * n) }
  }
  const first = await timed()
  const second = await timed()
  tf.dispose([a, b])
  const round = (ms: number) => Number(ms.toFixed(1))
  return { compile_ms: round(first.ms), run_ms: round(second.ms), correct: first.correct && second.correct }
}

export const doctorCommand: Command = {
  summary: 'devices, plugin, versions, memory, and what is missing',
  help: `Usage: rewardlab doctor

Tells which device the engine uses, runs one small program on it, and says what is missing and how to get it.
  --json             print the result as JSON`,
  async run(args, print) {
    parse(args, [], {})
    const d = await doctor()
    const lines = [
      `rewardlab ${d.rewardlab}, Node ${d.node}, tfjs ${d.tfjs}`,
      `${d.system}, ${d.cpus} processors, ${d.memory_gb.free} of ${d.memory_gb.total} GiB memory free`,
      `backend: ${d.backend}`,
      ...(d.plugin
        ? [
            `plugin: ${d.plugin.path} (PJRT ${d.plugin.api})`,
            `devices: ${d.plugin.devices.join(', ')} on ${d.plugin.platform}`,
            `held by tensors: ${memory()?.bytes ?? 0} bytes`,
          ]
        : []),
      ...(d.check
        ? [
            `check: compiled in ${d.check.compile_ms} ms, ran in ${d.check.run_ms} ms, ${d.check.correct ? 'correct' : 'WRONG'}`,
          ]
        : []),
      ...(d.problems.length ? d.problems.map(p => `missing: ${p}`) : ['nothing is missing']),
    ]
    print(lines.join('\n'), d)
  },
}
