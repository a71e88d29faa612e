import * as tf from '@tensorflow/tfjs-core'
// Registers every operation's gradient. tfjs-core's own file of them is written for bundlers: Node cannot load it.
import '@tensorflow/tfjs-layers'
import { BACKEND, XlaBackend } from './backend.js'
import { Engine } from './engine.js'
import { Trace } from './graph.js'
import './kernels/index.js'
import { findPlugin } from './plugins.js'
import { loadTensorflow } from './tensorflow.js'

export interface StartOptions {
  /** `xla` is this engine; `tensorflow` is what `npm run setup:tensorflow` made; `cpu` is plain tfjs.
   * Default: the environment variable REWARDLAB_BACKEND, or `xla`. */
  backend?: 'xla' | 'tensorflow' | 'cpu'
  /** `cpu`, `cuda` or `tpu`. Default: REWARDLAB_DEVICE, or the best for which there is a plugin and a driver. */
  device?: string
}

let engine: Engine | undefined
let started: Promise<void> | undefined

/** Chooses the tfjs backend, once a process. Without a PJRT plugin: one warning, and plain tfjs.
 * @throws Error if a backend or device that was asked for cannot be had */
export function start(options: StartOptions = {}): Promise<void> {
  started ??= choose(options)
  return started
}

async function choose(options: StartOptions): Promise<void> {
  tf.enableProdMode()
  const wanted = options.backend ?? process.env.REWARDLAB_BACKEND
  switch (wanted) {
    case undefined:
    case '':
    case 'xla':
      return startXla(options.device ?? process.env.REWARDLAB_DEVICE, wanted === 'xla')
    case 'tensorflow':
      return startTensorflow()
    case 'cpu':
      return startCpu()
    default:
      throw new Error(`start: backend "${wanted}" is not known. Use xla, tensorflow or cpu (REWARDLAB_BACKEND).`)
  }
}

async function startXla(device: string | undefined, insist: boolean): Promise<void> {
  const found = findPlugin(device)
  if ('missing' in found) {
    if (insist || device || process.env.REWARDLAB_PJRT_PLUGIN) throw new Error(found.missing)
    console.warn(`${found.missing} Until then plain tfjs runs everything, slowly.`)
    return startCpu()
  }
  engine ??= Engine.open(found.path) // here, since tfjs swallows what a backend's factory throws
  registerXla(found.path)
  await tf.setBackend(BACKEND)
  describeTensors()
  forgetInterruptedTraces()
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

/** A notebook kernel that terminates code runs no `finally`: it calls these functions instead. */
function forgetInterruptedTraces(): void {
  const interrupted = (globalThis as Record<symbol, Set<() => void> | undefined>)[Symbol.for('rewardlab.interrupted')]
  interrupted?.add(() => {
    Trace.current = null
  })
}

/** Registers the backend; tfjs may make and dispose it often, the engine behind it stays. */
export function registerXla(plugin: string): void {
  tf.registerBackend(BACKEND, () => new XlaBackend((engine ??= Engine.open(plugin))), 3)
}

async function startCpu(): Promise<void> {
  await import('@tensorflow/tfjs-backend-cpu')
  await tf.setBackend('cpu')
}

async function startTensorflow(): Promise<void> {
  loadTensorflow()
  await tf.setBackend('tensorflow')
}
