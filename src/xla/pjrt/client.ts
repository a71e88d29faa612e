import { PjrtApi } from './api.js'
import { Guards } from './guards.js'
import type { Guard } from './guards.js'
import { Block, bytesAt, doNothing, tuneMemory, stringAt, struct, text, words } from './memory.js'
import type { Word } from './memory.js'
import { memoryInWords, requireRoom } from './room.js'
import { compileOptions, outputTilings } from './spmd.js'
import { programName } from '../print.js'
import { shardingFromTiling } from '../sharding.js'
import type { Mesh, Sharding } from '../sharding.js'
import { ELEMENT, bytesOf } from '../types.js'
import type { ElementType } from '../types.js'

const ALIGNMENT = 64 // bytes, that XLA asks of a program's arguments on the CPU
const NO_COPY_AFTER_CALL = 0 // PJRT_HostBufferSemantics_kImmutableOnlyDuringCall

/** A plugin's own settings of a client. A number is a float, a bigint an int64. */
export type CreateOptions = Readonly<Record<string, string | boolean | number | bigint | readonly bigint[]>>

/** One process-wide client of one PJRT plugin. A second client in a process is not supported by the plugins. */
export class PjrtClient {
  readonly platform: string
  readonly platformVersion: string
  readonly devices: bigint[]
  /** Device buffers alive now, and their bytes on all devices. */
  liveBuffers = 0
  liveBytes = 0
  peakBytes = 0
  /** Bytes alive on each device. */
  readonly bytesOn: number[]
  /** Values copied to devices and back so far. */
  readonly uploads: Transfers = { count: 0, bytes: 0 }
  readonly reads: Transfers = { count: 0, bytes: 0 }
  /** @internal */
  readonly handle: bigint
  /** The arguments of Buffer_Destroy: a step calls it once a buffer. */
  private readonly destroying = struct(0)
  private readonly guards = new Guards<Allocation>(allocation => {
    this.count(allocation, -1)
    this.destroy(allocation)
  })
  /** Programs that nobody can run any more. */
  private readonly forgotten = new FinalizationRegistry<bigint>(handle =>
    this.api.call('LoadedExecutable_Destroy', struct(handle)),
  )

  constructor(
    readonly api: PjrtApi,
    options: CreateOptions = {},
  ) {
    tuneMemory()
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
    this.bytesOn = this.devices.map(() => 0)
    api.memoryInWords = () => memoryInWords(this)
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

  /** @param mesh that the program runs on; null: one device */
  compile(mlir: string, mesh: Mesh | null): Executable {
    const args = this.api.call('Client_Compile', this.compileArguments(mlir, mesh))
    return new Executable(this, args.get(6), programName(mlir), mesh)
  }

  /** Compiles on another thread. */
  async compileAsync(mlir: string, mesh: Mesh | null): Promise<Executable> {
    const args = await this.api.callAsync('Client_Compile', this.compileArguments(mlir, mesh))
    return new Executable(this, args.get(6), programName(mlir), mesh)
  }

  private compileArguments(mlir: string, mesh: Mesh | null): Block {
    const code = text(mlir)
    const program = struct(code, code.bytes.length, text('mlir'), 4)
    const options = this.compileOptions(mesh)
    return struct(this.handle, program, text(options), options.length, 0)
  }

  /** What the compiler is told beside the program: a serialised CompileOptionsProto. */
  compileOptions(mesh: Mesh | null): Uint8Array {
    return compileOptions(this.platform, mesh && mesh.size)
  }

  /** Loads what {@link Executable.serialize} gave, in this process or another with the same plugin and kind of device.
   * @param mlir the program's text, of which the name is read */
  load(serialized: Uint8Array, mlir: string, mesh: Mesh | null): Executable {
    const args = this.api.call('Executable_DeserializeAndLoad', this.loadArguments(serialized))
    return new Executable(this, args.get(5), programName(mlir), mesh)
  }

  /** Loads on another thread. */
  async loadAsync(serialized: Uint8Array, mlir: string, mesh: Mesh | null): Promise<Executable> {
    const args = await this.api.callAsync('Executable_DeserializeAndLoad', this.loadArguments(serialized))
    return new Executable(this, args.get(5), programName(mlir), mesh)
  }

  private loadArguments(serialized: Uint8Array): Block {
    return struct(this.handle, text(serialized), serialized.length, 0, 0, 0)
  }

  /** Copies host values to the first device, or to those of a mesh. @param bytes little-endian, row-major */
  upload(
    bytes: Uint8Array,
    shape: readonly number[],
    type: ElementType,
    sharding: Sharding | null = null,
  ): DeviceBuffer {
    const dims = words(sharding ? sharding.shardShape(shape) : shape)
    const sources = new Map<Uint8Array, Block>() // devices may hold the same
    const started = (sharding ? sharding.split(bytes, shape) : [bytes]).map((shard, i) => {
      let source = sources.get(shard)
      if (!source) {
        sources.set(shard, (source = new Block(shard.length)))
        source.bytes.set(shard)
      }
      this.uploads.count++
      this.uploads.bytes += shard.length
      const [pjrt, device] = [ELEMENT[type].pjrt, this.devices[i]!]
      const args = struct(this.handle, source, pjrt, dims, shape.length, 0, 0, NO_COPY_AFTER_CALL, device, 0, 0, 0, 0)
      return this.api.call('Client_BufferFromHostBuffer', args)
    })
    for (const done of started.map(args => args.get(13)))
      if (done !== 0n) {
        this.api.call('Event_Await', struct(done))
        this.api.call('Event_Destroy', struct(done))
      }
    const handles = started.map(args => args.get(14))
    return new DeviceBuffer(this, handles, shape, type, sharding)
  }

  /** @internal */
  adoptExecutable(executable: Executable, handle: bigint): void {
    this.forgotten.register(executable, handle)
  }

  /** Counts the memory of a buffer, and watches over it. @internal */
  adopt(allocation: Allocation): Guard<Allocation> {
    this.count(allocation, 1)
    this.peakBytes = Math.max(this.peakBytes, this.liveBytes)
    return this.guards.take(allocation)
  }

  /** @param ended of the program that consumes the memory: until then the plugin would block. @internal */
  drop(guard: Guard<Allocation>, ended: Promise<void> | null): void {
    const allocation = guard.slot.held!
    this.guards.give(guard)
    this.count(allocation, -1)
    if (ended) void ended.catch(() => undefined).then(() => this.destroy(allocation))
    else this.destroy(allocation)
  }

  private destroy({ handles }: Allocation): void {
    for (const handle of handles) {
      this.destroying.set(2, handle)
      this.api.call('Buffer_Destroy', this.destroying)
    }
  }

  private count({ handles, bytes }: Allocation, sign: 1 | -1): void {
    this.liveBuffers += sign
    this.liveBytes += sign * bytes * handles.length
    for (let device = 0; device < handles.length; device++) this.bytesOn[device]! += sign * bytes
  }

  /** Memory of the buffers alive now. */
  allocations(): Iterable<Allocation> {
    return this.guards.held()
  }
}

export interface Transfers {
  count: number
  bytes: number
}

/** Memory on the first device, or of equal size on the first devices. */
export interface Allocation {
  /** One a device. */
  readonly handles: readonly bigint[]
  /** On each device. */
  readonly bytes: number
  readonly shape: readonly number[]
  readonly type: ElementType
}

/** A tensor's values, on one device or on those of a mesh, or on their way there: reading waits for the program that writes them. */
export class DeviceBuffer {
  /** On each device. */
  private readonly bytes: number
  private guard: Guard<Allocation> | null
  /** Views of this memory, and running programs that read them. */
  private holds = 0
  private abandoned = false
  private consumed: Promise<void> | null = null
  private whenReady: Promise<void> | null = null

  constructor(
    readonly client: PjrtClient,
    /** One a device. */
    readonly handles: readonly bigint[],
    readonly shape: readonly number[],
    readonly type: ElementType,
    /** Null: on the first device. */
    readonly sharding: Sharding | null,
    /** The memory that this is a view of. */
    private readonly whole: DeviceBuffer | null = null,
  ) {
    this.bytes = bytesOf(sharding ? sharding.shardShape(shape) : shape, type)
    this.guard = client.adopt({ handles, bytes: whole ? 0 : this.bytes, shape, type })
    if (whole) whole.holds++
  }

  /** Returns the memory, or with views of it alive, when the last of them is gone. */
  destroy(): void {
    if (!this.guard) return
    this.abandoned = true
    if (this.holds > 0) return
    this.client.drop(this.guard, this.consumed)
    this.guard = null
    this.whole?.release()
  }

  private release(): void {
    if (--this.holds === 0 && this.abandoned) this.destroy()
  }

  /** The memory was donated to a program. @param ended resolves when it has run @internal */
  consumeBy(ended: Promise<void>): void {
    this.consumed = ended
  }

  get isView(): boolean {
    return this.whole !== null
  }

  /** Holds the memory that this is a view of until a program that reads it has ended. @internal */
  holdWhole(ended: Promise<void>): void {
    const { whole } = this
    if (!whole) return
    whole.holds++
    void ended.catch(() => undefined).then(() => whole.release())
  }

  /** Slices along the first axis that share this memory, whose values must be there; null where the device cannot. */
  views(): DeviceBuffer[] | null {
    const [n, ...shape] = this.shape as [number, ...number[]]
    const bytes = this.bytes / n
    const { api, devices } = this.client
    if (this.sharding || n === 0 || bytes % ALIGNMENT !== 0 || !api.has('Client_CreateViewOfDeviceBuffer')) return null
    const start = this.address()
    if (start === null || start % BigInt(ALIGNMENT) !== 0n) return null
    const [dims, type] = [words(shape), ELEMENT[this.type].pjrt]
    return Array.from({ length: n }, (_, i) => {
      const at = start + BigInt(i * bytes)
      const args = struct(this.client.handle, at, dims, shape.length, type, 0, devices[0]!, doNothing(), 0, 0, 0, 0)
      const handle = api.call('Client_CreateViewOfDeviceBuffer', args).get(12)
      return new DeviceBuffer(this.client, [handle], shape, this.type, null, this)
    })
  }

  /** Null where the plugin does not tell. */
  private address(): bigint | null {
    try {
      return this.client.api.call('Buffer_UnsafePointer', struct(this.handles[0]!, 0)).get(3)
    } catch {
      return null
    }
  }

  /** Waits for the values and copies them to the host. */
  read(): Uint8Array {
    const { api } = this.client
    const reads = this.startReads()
    try {
      for (const { event } of reads) api.call('Event_Await', struct(event))
    } finally {
      for (const { event } of reads) api.call('Event_Destroy', struct(event))
    }
    return this.joined(reads)
  }

  /** The same without blocking the event loop. */
  async readAsync(): Promise<Uint8Array> {
    const reads = this.startReads()
    await Promise.all(reads.map(({ event }) => this.awaitEvent(event)))
    return this.joined(reads)
  }

  /** Resolves when the values are there; rejects if the program that writes them failed. */
  ready(): Promise<void> {
    return (this.whenReady ??= this.awaitAll())
  }

  private async awaitAll(): Promise<void> {
    const events = this.handles.map(handle => this.client.api.call('Buffer_ReadyEvent', struct(handle, 0)).get(3))
    await Promise.all(events.map(event => this.awaitEvent(event)))
  }

  /** Starts to copy each shard from one of the devices that hold it. */
  private startReads(): { target: Block; event: bigint }[] {
    return (this.sharding?.holders ?? [0]).map(device => {
      const target = new Block(this.bytes)
      this.client.reads.count++
      this.client.reads.bytes += this.bytes
      const args = struct(this.handles[device]!, 0, target, this.bytes, 0)
      return { target, event: this.client.api.call('Buffer_ToHostBuffer', args).get(6) }
    })
  }

  /** The bytes read, in an array no larger than they are. */
  private joined(reads: readonly { target: Block }[]): Uint8Array {
    const shards = reads.map(({ target: { bytes } }) =>
      bytes.length === this.bytes ? bytes : bytes.slice(0, this.bytes),
    )
    return this.sharding ? this.sharding.join(shards, this.shape) : shards[0]!
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

/** A compiled program, loaded on the first device or on those of a mesh. */
export class Executable {
  private shardings: (Sharding | null)[] | null = null
  private needed: number | null = null

  constructor(
    readonly client: PjrtClient,
    private readonly handle: bigint,
    readonly name: string,
    readonly mesh: Mesh | null,
  ) {
    client.adoptExecutable(this, handle)
  }

  /** Starts the program; its outputs are buffers whose values may still be computed.
   * Inputs that the program donates are consumed. */
  execute(
    inputs: readonly DeviceBuffer[],
    outputs: readonly { shape: readonly number[]; type: ElementType }[],
  ): DeviceBuffer[] {
    requireRoom(this.client, this.name, (this.needed ??= this.allocated()))
    const shardings = (this.shardings ??= this.outputShardings(outputs))
    const devices = Array.from({ length: this.mesh?.size ?? 1 }, (_, device) => device)
    const argumentLists = words(devices.map(device => words(inputs.map(b => b.handles[device]!))))
    const results = devices.map(() => new Block(8 * outputs.length))
    const options = struct(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    this.client.api.call(
      'LoadedExecutable_Execute',
      struct(this.handle, options, argumentLists, devices.length, inputs.length, words(results), 0, 0),
    )
    const buffers = outputs.map(({ shape, type }, i) => {
      const handles = results.map(list => list.get(i))
      return new DeviceBuffer(this.client, handles, shape, type, shardings[i]!)
    })
    const views = inputs.filter(b => b.isView)
    if (views.length > 0 && buffers.length > 0) {
      const ended = buffers[0]!.ready()
      views.forEach(view => view.holdWhole(ended))
    }
    return buffers
  }

  /** Bytes that an execution allocates; asked only of the CPU's plugin, whose devices share the memory of the machine. */
  private allocated(): number {
    if (this.client.platform !== 'cpu') return 0
    const { outputs, aliased, temporary } = this.memory()
    return (outputs - aliased + temporary) * (this.mesh?.size ?? 1)
  }

  /** Where the compiler leaves the results. */
  private outputShardings(outputs: readonly { shape: readonly number[] }[]): (Sharding | null)[] {
    const { mesh } = this
    if (!mesh || outputs.length === 0) return outputs.map(() => null)
    if (mesh.size === 1) return outputs.map(({ shape }) => mesh.whole(shape.length)) // nothing was partitioned
    const tilings = outputTilings(this.optimized())
    return outputs.map(({ shape }, i) => shardingFromTiling(mesh, tilings[i]!, shape.length))
  }

  /** Bytes the program needs on each device, as the compiler counted them. */
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
export function namedValue([name, value]: [string, CreateOptions[string]]): Word[] {
  const named = (type: number, word: Word, elements = 1) => [56, 0, text(name), name.length, type, word, elements]
  if (typeof value === 'string') return named(0, text(value), value.length)
  if (typeof value === 'bigint') return named(1, value)
  if (typeof value === 'number') return named(3, new Uint32Array(Float32Array.of(value).buffer)[0]!)
  if (typeof value === 'boolean') return named(4, value ? 1 : 0)
  return named(2, words(value), value.length)
}
