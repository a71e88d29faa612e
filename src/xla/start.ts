import * as tf from '@tensorflow/tfjs-core'
// Registers every operation's gradient. tfjs-core's own file of them is written for bundlers: Node cannot load it.
import '@tensorflow/tfjs-layers'
import { onInterrupt } from '../interrupt.js'
import { endAutocast } from './autocast.js'
import { BACKEND, XlaBackend } from './backend.js'
import { keepGradientTypes } from './cotangents.js'
import { Engine } from './engine.js'
import { gpuOptions } from './gpuOptions.js'
import type { GpuOptions } from './gpuOptions.js'
import { Trace } from './graph.js'
import './kernels/index.js'
import { findPlugins, thisMachine } from './plugins.js'
import type { Machine, Plugin } from './plugins.js'
import type { CreateOptions } from './pjrt/client.js'
import { loadTensorflow } from './tensorflow.js'

export interface StartOptions {
  /** `xla` is this engine; `tensorflow` is what `npm run setup:tensorflow` made; `cpu` is plain tfjs.
   * Default: the environment variable REWARDLAB_BACKEND, or `xla`. */
  backend?: 'xla' | 'tensorflow' | 'cpu'
  /** `cpu`, `cuda` or `tpu`. Default: REWARDLAB_DEVICE, or the best that the machine has and whose plugin loads. */
  device?: string
  /** Memory of an NVIDIA GPU. */
  gpu?: GpuOptions
  /** Virtual devices of the CPU, to try meshes on. Default: REWARDLAB_CPU_DEVICES, or the plugin's, 4. */
  cpuDevices?: number
}

let engine: Engine | undefined
let started: Promise<void> | undefined
const problems: string[] = []

/** Chooses the tfjs backend, once a process. Where the best device cannot be used: one warning, and the next best; without any
 * PJRT plugin, plain tfjs. After a failure it may be called again.
 * @param machine where plugins are looked for
 * @throws Error if a backend or device that was asked for cannot be had */
export function start(options: StartOptions = {}, machine?: Machine): Promise<void> {
  started ??= choose(options, machine).catch((error: unknown) => {
    started = undefined
    throw error
  })
  return started
}

/** What keeps {@link start} from better devices, and what to do about it. */
export function startProblems(): readonly string[] {
  return problems
}

async function choose(options: StartOptions, machine?: Machine): Promise<void> {
  tf.enableProdMode()
  const wanted = options.backend ?? process.env.REWARDLAB_BACKEND
  switch (wanted) {
    case undefined:
    case '':
    case 'xla':
      return startXla(options, wanted === 'xla', machine)
    case 'tensorflow':
      return startTensorflow()
    case 'cpu':
      return startCpu()
    default:
      throw new Error(`start: backend "${wanted}" is not known. Use xla, tensorflow or cpu (REWARDLAB_BACKEND).`)
  }
}

async function startXla(options: StartOptions, insist: boolean, machine = thisMachine()): Promise<void> {
  const device = options.device ?? process.env.REWARDLAB_DEVICE
  const settings: Record<string, CreateOptions> = { cuda: gpuOptions(options.gpu), cpu: cpuOptions(options.cpuDevices) }
  problems.length = 0
  let lacking: string | undefined
  for (const found of findPlugins(device, machine)) {
    if ('missing' in found) problems.push(found.missing)
    else if ((engine ??= open(found, settings[found.device]))) {
      lacking = found.lacking
      break
    }
  }
  if (!engine) {
    const told = problems.join(' ')
    if (insist || device || process.env.REWARDLAB_PJRT_PLUGIN) throw new Error(told)
    console.warn(`Running on plain tfjs, slowly. ${told}`)
    return startCpu()
  }
  if (problems.length > 0) console.warn(`Running on ${engine.client.platform}. ${problems.join(' ')}`)
  if (lacking) problems.push(lacking)
  registerXla(engine)
  await tf.setBackend(BACKEND)
  describeTensors()
  onInterrupt(terminated => {
    if (!terminated) return
    Trace.current = null
    endAutocast()
    engine?.forgetPending()
  })
}

function cpuOptions(cpuDevices?: number): CreateOptions {
  const count = cpuDevices ?? (process.env.REWARDLAB_CPU_DEVICES || undefined)
  if (count === undefined) return {}
  if (!Number.isInteger(Number(count)) || Number(count) < 1)
    throw new Error(`start: cpuDevices is ${count}; needed an integer ≥ 1 (or REWARDLAB_CPU_DEVICES).`)
  return { cpu_device_count: BigInt(count) }
}

/** Opens a plugin here, since tfjs swallows what a backend's factory throws. Where that fails, the problem is noted. */
function open({ device, path, lacking }: Plugin, settings: CreateOptions | undefined): Engine | undefined {
  try {
    return Engine.open(path, settings)
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error)
    problems.push(`Device ${device}: ${said.includes(path) ? '' : `${path}: `}${said}`, ...(lacking ? [lacking] : []))
    return undefined
  }
}

/** Tensors print as their type and shape: their values may not be computed yet. */
function describeTensors(): void {
  Object.defineProperty(tf.Tensor.prototype, Symbol.for('nodejs.util.inspect.custom'), {
    configurable: true,
    value(this: tf.Tensor): string {
      return `Tensor ${this.dtype}[${this.shape.join(', ')}]${this.isDisposed ? ' (disposed)' : ''}`
    },
  })
}

/** Registers the backend; tfjs may make and dispose it often, the engine behind it stays. */
function registerXla(engine: Engine): void {
  keepGradientTypes()
  tf.registerBackend(BACKEND, () => new XlaBackend(engine), 3)
}

async function startCpu(): Promise<void> {
  await import('@tensorflow/tfjs-backend-cpu')
  await tf.setBackend('cpu')
}

async function startTensorflow(): Promise<void> {
  loadTensorflow()
  await tf.setBackend('tensorflow')
}
