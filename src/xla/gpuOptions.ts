import type { CreateOptions } from './pjrt/client.js'

/** Memory of an NVIDIA GPU; the names are XLA's. Each may come from the environment instead: REWARDLAB_GPU_PREALLOCATE,
 * REWARDLAB_GPU_MEMORY_FRACTION, REWARDLAB_GPU_ALLOCATOR, REWARDLAB_GPU_VISIBLE_DEVICES (1 or 0, 0.5, cuda_async, 0,1). */
export interface GpuOptions {
  /** Takes the whole `memory_fraction` at the start. Default: false, memory is taken as it is needed. */
  preallocate?: boolean
  /** The part of the GPU's memory to use at most. Default: the plugin's, 0.75. */
  memory_fraction?: number
  /** `platform` asks CUDA for every buffer (slow, and gives everything back); `bfc` keeps freed memory, as `default` does. */
  allocator?: (typeof ALLOCATORS)[number]
  /** Which GPUs, counted from 0. Default: all. */
  visible_devices?: readonly number[]
}

const ALLOCATORS = ['default', 'platform', 'bfc', 'cuda_async'] as const

/** What a CUDA plugin's client is created with.
 * @throws Error for a value that XLA would not take */
export function gpuOptions(options: GpuOptions = {}, environment: NodeJS.ProcessEnv = process.env): CreateOptions {
  const asked = { ...fromEnvironment(environment), ...options }
  const { preallocate = false, memory_fraction, allocator = 'default', visible_devices } = asked
  const refuse = (name: string, got: unknown, needed: string): never => {
    throw new Error(`start: gpu.${name} is ${String(got)}; needed ${needed} (or REWARDLAB_GPU_${name.toUpperCase()}).`)
  }
  if (typeof preallocate !== 'boolean') refuse('preallocate', preallocate, '0 or 1')
  if (memory_fraction !== undefined && !(memory_fraction > 0 && memory_fraction <= 1))
    refuse('memory_fraction', memory_fraction, 'a number above 0, at most 1')
  if (!ALLOCATORS.includes(allocator)) refuse('allocator', allocator, ALLOCATORS.join(', '))
  if (visible_devices?.some(i => !Number.isInteger(i) || i < 0))
    refuse('visible_devices', visible_devices.join(), 'numbers of GPUs such as 0,1')
  return {
    platform_name: 'cuda',
    allocator,
    preallocate,
    ...(memory_fraction !== undefined && { memory_fraction }),
    ...(visible_devices && { visible_devices: visible_devices.map(BigInt) }),
  }
}

function fromEnvironment(environment: NodeJS.ProcessEnv): GpuOptions {
  const of = <T>(name: string, read: (text: string) => T) => {
    const text = environment[`REWARDLAB_GPU_${name.toUpperCase()}`]
    return text ? { [name]: read(text) } : {}
  }
  return {
    ...of('preallocate', text => (text === '1' ? true : text === '0' ? false : text)),
    ...of('memory_fraction', Number),
    ...of('allocator', text => text),
    ...of('visible_devices', text => text.split(',').map(Number)),
  }
}
