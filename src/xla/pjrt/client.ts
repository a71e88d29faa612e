import { PjrtApi } from './api.js'
import { Guards } from './guards.js'
import type { Guard } from './guards.js'
import { Block, bytesAt, tuneAllocator, stringAt, struct, text, words } from './memory.js'
import type { Word } from './memory.js'
import { ELEMENT, bytesOf } from '../types.js'
import type { ElementType } from '../types.js'

/** CompileOptionsProto { executable_build_options (3) { num_replicas (4): 1, num_partitions (5): 1 },
 * env_option_overrides (7) { key (1): "xla_cpu_use_xnnpack", value (2) { bool_field (2): false } } }.
 * XNNPACK's products in the CPU plugin keep a packed copy of a parameter by its address, and go on reading that copy when other
 * values lie there: after an update in place, or in memory that was freed and given out again. */
export const ONE_DEVICE = Uint8Array.from([
  ...[0x1a, 4, 0x20, 1, 0x28, 1],
  ...[0x3a, 25, 0x0a, 19, ...new TextEncoder().encode('xla_cpu_use_xnnpack'), 0x12, 2, 0x10, 0],
])
const NO_COPY_AFTER_CALL = 0 // PJRT_HostBufferSemantics_kImmutableOnlyDuringCall

/** A plugin's own settings of a client. A number is a float, a bigint an int64. */
export type CreateOptions = Readonly<Record<string, string | boolean | number | bigint | readonly bigint[]>>

/** One process-wide client of one PJRT plugin. A second client in a process is not supported by the plugins. */
export class PjrtClient {
  readonly platform: string
  readonly platformVersion: string
  readonly devices: bigint[]
  /** Device buffers alive now, and their bytes. */
  liveBuffers = 0
  liveBytes = 0
  peakBytes = 0
  private readonly handle: bigint
  /** The arguments of Buffer_Destroy: a step calls it once a buffer. */
  private readonly destroying = struct(0)
  private readonly guards = new Guards<Allocation>(allocation => this.release(allocation))
  /** Programs that nobody can run any more. */
  private readonly forgotten = new FinalizationRegistry<bigint>(handle =>
    this.api.call('LoadedExecutable_Destroy', struct(handle)),
  )

  constructor(
    readonly api: PjrtApi,
    options: CreateOptions = {},
  ) {
    tuneAllocator()
    api.call('Plugin_Initialize', struct())
    const named = Object.entries(options).flatMap(namedValue)
    const args = struct(words(named), Object.keys(options).length, 0, 0, 0, 0, 0, 0, 0)
    this.handle = api.call('Client_Create', args).get(8)
    const platform = api.call('Client_PlatformName', struct(this.handle, 0, 0))
    this.platform = stringAt(platform.get(3), platform.get(4))
    const version = api.call('Client_PlatformVersion', struct(this.handle, 0, 0))
    this.platformVersion = stringAt(version.get(3), version.get(4))
    const devices = api.call('Client_AddressableDevices', struct(this.handle, 0, 0))
    this.devices = [...new BigUint64Array(bytesAt(devices.get(3), devices.get(4) * 8n).buffer)]
  }

  /** What the plugin says of a device, for example "TFRT_CPU_0". */
  describe(device: bigint): string {
    const description = this.api.call('Device_GetDescription', struct(device, 0)).get(3)
    const words = this.api.call('DeviceDescription_ToString', struct(description, 0, 0))
    return stringAt(words.get(3), words.get(4))
  }

  /** What kind of device it is, for example "NVIDIA H100". */
  kind(device: bigint): string {
    const description = this.api.call('Device_GetDescription', struct(device, 0)).get(3)
    const words = this.api.call('DeviceDescription_Kind', struct(description, 0, 0))
    return stringAt(words.get(3), words.get(4))
  }

  /** @param options a serialised CompileOptionsProto */
  compile(mlir: string, options: Uint8Array = ONE_DEVICE): Executable {
    return new Executable(this, this.api.call('Client_Compile', this.compileArguments(mlir, options)).get(6))
  }

  /** Compiles on another thread. */
  async compileAsync(mlir: string, options: Uint8Array = ONE_DEVICE): Promise<Executable> {
    const args = await this.api.callAsync('Client_Compile', this.compileArguments(mlir, options))
    return new Executable(this, args.get(6))
  }

  private compileArguments(mlir: string, options: Uint8Array): Block {
    const code = text(mlir)
    const program = struct(code, code.bytes.length, text('mlir'), 4)
    return struct(this.handle, program, text(options), options.length, 0)
  }

  /** Loads what {@link Executable.serialize} gave, in this process or another with the same plugin and kind of device. */
  load(serialized: Uint8Array): Executable {
    return new Executable(this, this.api.call('Executable_DeserializeAndLoad', this.loadArguments(serialized)).get(5))
  }

  /** Loads on another thread. */
  async loadAsync(serialized: Uint8Array): Promise<Executable> {
    const args = await this.api.callAsync('Executable_DeserializeAndLoad', this.loadArguments(serialized))
    return new Executable(this, args.get(5))
  }

  private loadArguments(serialized: Uint8Array): Block {
    return struct(this.handle, text(serialized), serialized.length, 0, 0, 0)
  }

  /** Copies host values to the device. @param bytes little-endian, row-major */
  upload(bytes: Uint8Array, shape: readonly number[], type: ElementType): DeviceBuffer {
    const source = new Block(bytes.length)
    source.bytes.set(bytes)
    const dims = words(shape)
    const args = struct(
      this.handle,
      source,
      ELEMENT[type].pjrt,
      dims,
      shape.length,
      0,
      0,
      NO_COPY_AFTER_CALL,
      this.devices[0]!,
      0,
      0,
      0,
      0,
    )
    this.api.call('Client_BufferFromHostBuffer', args)
    const done = args.get(13)
    if (done !== 0n) {
      this.api.call('Event_Await', struct(done))
      this.api.call('Event_Destroy', struct(done))
    }
    return new DeviceBuffer(this, args.get(14), shape, type)
  }

  /** @internal */
  adoptExecutable(executable: Executable, handle: bigint): void {
    this.forgotten.register(executable, handle)
  }

  /** Counts the memory of a buffer, and watches over it. @internal */
  adopt(allocation: Allocation): Guard<Allocation> {
    this.liveBuffers++
    this.liveBytes += allocation.bytes
    this.peakBytes = Math.max(this.peakBytes, this.liveBytes)
    return this.guards.take(allocation)
  }

  /** @internal */
  drop(guard: Guard<Allocation>): void {
    this.release(guard.slot.held!)
    this.guards.give(guard)
  }

  private release({ handle, bytes }: Allocation): void {
    this.liveBuffers--
    this.liveBytes -= bytes
    this.destroying.set(2, handle)
    this.api.call('Buffer_Destroy', this.destroying)
  }

  /** Memory of the buffers alive now. */
  allocations(): Iterable<Allocation> {
    return this.guards.held()
  }
}

/** Memory on the device. */
export interface Allocation {
  readonly handle: bigint
  readonly bytes: number
  readonly shape: readonly number[]
  readonly type: ElementType
}

/** A tensor's values on the device, or on their way there: reading waits for the program that writes them. */
export class DeviceBuffer {
  readonly bytes: number
  private guard: Guard<Allocation> | null

  constructor(
    readonly client: PjrtClient,
    readonly handle: bigint,
    readonly shape: readonly number[],
    readonly type: ElementType,
  ) {
    this.bytes = bytesOf(shape, type)
    this.guard = client.adopt({ handle, bytes: this.bytes, shape, type })
  }

  destroy(): void {
    if (!this.guard) return
    this.client.drop(this.guard)
    this.guard = null
  }

  /** Waits for the values and copies them to the host. */
  read(): Uint8Array {
    const target = new Block(this.bytes)
    const event = this.startRead(target)
    try {
      this.client.api.call('Event_Await', struct(event))
    } finally {
      this.client.api.call('Event_Destroy', struct(event))
    }
    return this.exactly(target)
  }

  /** The same without blocking the event loop. */
  async readAsync(): Promise<Uint8Array> {
    const target = new Block(this.bytes)
    await this.awaitEvent(this.startRead(target))
    return this.exactly(target)
  }

  /** The bytes read, in a buffer no larger than they are. */
  private exactly({ bytes }: Block): Uint8Array {
    return bytes.length === this.bytes ? bytes : bytes.slice(0, this.bytes)
  }

  /** Resolves when the values are there; rejects if the program that writes them failed. */
  ready(): Promise<void> {
    return this.awaitEvent(this.client.api.call('Buffer_ReadyEvent', struct(this.handle, 0)).get(3))
  }

  private startRead(target: Block): bigint {
    return this.client.api.call('Buffer_ToHostBuffer', struct(this.handle, 0, target, this.bytes, 0)).get(6)
  }

  private async awaitEvent(event: bigint): Promise<void> {
    const api = this.client.api
    try {
      const state = api.call('Event_IsReady', struct(event, 0))
      if ((state.get(3) & 0xffn) !== 0n) api.call('Event_Await', struct(event))
      else await api.callAsync('Event_Await', struct(event))
    } finally {
      api.call('Event_Destroy', struct(event))
    }
  }
}

/** A compiled program, loaded on device 0. */
export class Executable {
  constructor(
    readonly client: PjrtClient,
    private readonly handle: bigint,
  ) {
    client.adoptExecutable(this, handle)
  }

  /** Starts the program; its outputs are buffers whose values may still be computed.
   * Inputs that the program donates are consumed. */
  execute(
    inputs: readonly DeviceBuffer[],
    outputs: readonly { shape: readonly number[]; type: ElementType }[],
  ): DeviceBuffer[] {
    const argumentList = words(inputs.map(b => b.handle))
    const results = new Block(8 * outputs.length)
    const argumentLists = words([argumentList])
    const outputLists = words([results])
    const options = struct(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    this.client.api.call(
      'LoadedExecutable_Execute',
      struct(this.handle, options, argumentLists, 1, inputs.length, outputLists, 0, 0),
    )
    return outputs.map((o, i) => new DeviceBuffer(this.client, results.get(i), o.shape, o.type))
  }

  /** Bytes the program needs, as the compiler counted them. */
  memory(): { arguments: number; outputs: number; aliased: number; temporary: number; code: number } {
    return this.described(executable => {
      const s = this.client.api.call('Executable_GetCompiledMemoryStats', struct(executable, ...Array<0>(11).fill(0)))
      const n = (i: number) => Number(s.get(i))
      return { code: n(3), arguments: n(4), outputs: n(5), aliased: n(6), temporary: n(7) }
    })
  }

  /** The compiled program in the plugin's own form, for {@link PjrtClient.load}. */
  serialize(): Uint8Array {
    return this.described(executable => {
      const s = this.client.api.call('Executable_Serialize', struct(executable, 0, 0, 0, 0))
      try {
        return bytesAt(s.get(3), s.get(4))
      } finally {
        this.client.api.free(s.get(6), s.get(5))
      }
    })
  }

  /** What the compiler made of the program: a serialised HloModuleProtoWithConfig. */
  optimized(): Uint8Array {
    return this.described(executable => {
      const program = struct(0, 0, 0, 0)
      this.client.api.call('Executable_OptimizedProgram', struct(executable, program)) // tells the size
      const code = new Block(Number(program.get(3)))
      program.set(2, code)
      this.client.api.call('Executable_OptimizedProgram', struct(executable, program))
      return code.bytes.slice(0, Number(program.get(3)))
    })
  }

  /** The loaded program's description, which is an object of its own. */
  private described<T>(read: (executable: bigint) => T): T {
    const executable = this.client.api.call('LoadedExecutable_GetExecutable', struct(this.handle, 0)).get(3)
    try {
      return read(executable)
    } finally {
      this.client.api.call('Executable_Destroy', struct(executable))
    }
  }
}

/** The words of a PJRT_NamedValue: its size, no extension, name, type, value (a union), number of elements. */
function namedValue([name, value]: [string, CreateOptions[string]]): Word[] {
  const named = (type: number, word: Word, elements = 1) => [56, 0, text(name), name.length, type, word, elements]
  if (typeof value === 'string') return named(0, text(value), value.length)
  if (typeof value === 'bigint') return named(1, value)
  if (typeof value === 'number') return named(3, new Uint32Array(Float32Array.of(value).buffer)[0]!)
  if (typeof value === 'boolean') return named(4, value ? 1 : 0)
  return named(2, words(value), value.length)
}
