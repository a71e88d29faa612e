import koffi from 'koffi'
import { OutOfMemoryError, PjrtError } from './errors.js'
import { stringAt, struct } from './memory.js'
import type { Block } from './memory.js'

/** The functions of `struct PJRT_Api` in the order of pjrt_c_api.h; the interface only ever appends. */
const FUNCTIONS = `
  Error_Destroy Error_Message Error_GetCode Plugin_Initialize Plugin_Attributes Event_Destroy Event_IsReady
  Event_Error Event_Await Event_OnReady Client_Create Client_Destroy Client_PlatformName Client_ProcessIndex
  Client_PlatformVersion Client_Devices Client_AddressableDevices Client_LookupDevice
  Client_LookupAddressableDevice Client_AddressableMemories Client_Compile Client_DefaultDeviceAssignment
  Client_BufferFromHostBuffer DeviceDescription_Id DeviceDescription_ProcessIndex DeviceDescription_Attributes
  DeviceDescription_Kind DeviceDescription_DebugString DeviceDescription_ToString Device_GetDescription
  Device_IsAddressable Device_LocalHardwareId Device_AddressableMemories Device_DefaultMemory
  Device_MemoryStats Memory_Id Memory_Kind Memory_DebugString Memory_ToString Memory_AddressableByDevices
  Executable_Destroy Executable_Name Executable_NumReplicas Executable_NumPartitions Executable_NumOutputs
  Executable_SizeOfGeneratedCodeInBytes Executable_GetCostAnalysis Executable_OutputMemoryKinds
  Executable_OptimizedProgram Executable_Serialize LoadedExecutable_Destroy LoadedExecutable_GetExecutable
  LoadedExecutable_AddressableDevices LoadedExecutable_Delete LoadedExecutable_IsDeleted
  LoadedExecutable_Execute Executable_DeserializeAndLoad LoadedExecutable_Fingerprint Buffer_Destroy
  Buffer_ElementType Buffer_Dimensions Buffer_UnpaddedDimensions Buffer_DynamicDimensionIndices
  Buffer_GetMemoryLayout Buffer_OnDeviceSizeInBytes Buffer_Device Buffer_Memory Buffer_Delete Buffer_IsDeleted
  Buffer_CopyToDevice Buffer_ToHostBuffer Buffer_IsOnCpu Buffer_ReadyEvent Buffer_UnsafePointer
  Buffer_IncreaseExternalReferenceCount Buffer_DecreaseExternalReferenceCount
  Buffer_OpaqueDeviceMemoryDataPointer CopyToDeviceStream_Destroy CopyToDeviceStream_AddChunk
  CopyToDeviceStream_TotalBytes CopyToDeviceStream_GranuleSize CopyToDeviceStream_CurrentBytes
  TopologyDescription_Create TopologyDescription_Destroy TopologyDescription_PlatformName
  TopologyDescription_PlatformVersion TopologyDescription_GetDeviceDescriptions TopologyDescription_Serialize
  TopologyDescription_Attributes Compile Executable_OutputElementTypes Executable_OutputDimensions
  Buffer_CopyToMemory Client_CreateViewOfDeviceBuffer Executable_Fingerprint Client_TopologyDescription
  Executable_GetCompiledMemoryStats Memory_Kind_Id ExecuteContext_Create ExecuteContext_Destroy
`
  .trim()
  .split(/\s+/)

// What the plugin may use of the stack, as a thread has it: its compiler recurses, and overflows koffi's 128 KB for asynchronous calls.
const STACK = 8 * 2 ** 20
koffi.config({ sync_stack_size: STACK, async_stack_size: STACK })

const HEADER_WORDS = 5 // struct_size, extension_start, then PJRT_Api_Version { struct_size, extension_start, major:int, minor:int }
const FUNCTION = koffi.proto('uintptr_t PJRT_Function(uintptr_t)')
const DELETER = koffi.proto('void PJRT_Deleter(uintptr_t)')
const RESOURCE_EXHAUSTED = 8 // PJRT_Error_Code
const RTLD_NOW_NODELETE = 0x2 | 0x1000

type Native = ((args: bigint) => bigint | number) & {
  async(args: bigint, done: (error: unknown, result: bigint | number) => void): void
}

/** The C interface of one PJRT plugin: every call takes one argument struct and reports failure as a PJRT_Error. */
export class PjrtApi {
  readonly version: string
  private readonly functions = new Map<string, Native>()
  /** What is held and what is free, for an error's message. */
  memoryInWords = (): string => ''
  /** The argument of the call in progress: its address alone would not keep it. */
  private argument: Block | null = null

  /** @param path a plugin's shared library (xla_cpu_pjrt.so, xla_cuda_plugin.so, libtpu.so) */
  constructor(readonly path: string) {
    quietLogs()
    keepLoaded(path)
    const api = BigInt(koffi.load(path).func('void* GetPjrtApi()')() as bigint)
    const word = (i: number) => BigInt(koffi.decode(api, 8 * i, 'uint64') as bigint | number)
    const minor = Number(word(4) >> 32n)
    this.version = `${Number(word(4) & 0xffffffffn)}.${minor}`
    if (minor < 54)
      throw new PjrtError(`${path}: PJRT interface ${this.version}, needed 0.54 or newer. Install a newer plugin.`)
    const available = Number(word(0)) / 8 - HEADER_WORDS
    FUNCTIONS.slice(0, available).forEach((name, i) => {
      const pointer = word(HEADER_WORDS + i)
      if (pointer !== 0n) this.functions.set(name, koffi.decode(pointer, FUNCTION) as Native)
    })
  }

  /** Calls PJRT_`name` and returns its argument struct, whose out fields are then filled. */
  call(name: string, args: Block): Block {
    this.check(name, this.invoke(name, args))
    return args
  }

  private invoke(name: string, args: Block): bigint | number {
    this.argument = args
    try {
      return this.function(name)(args.address)
    } finally {
      this.argument = null
    }
  }

  /** The same on another thread: the event loop goes on. */
  callAsync(name: string, args: Block): Promise<Block> {
    return new Promise((resolve, reject) => {
      this.function(name).async(args.address, (error, result) => {
        try {
          if (error) throw error as Error
          this.check(name, result)
          resolve(args)
        } catch (e) {
          reject(e instanceof Error ? e : new PjrtError(String(e)))
        }
      })
    })
  }

  /** Calls a deleter that the plugin gave with an object. */
  free(deleter: bigint, object: bigint): void {
    ;(koffi.decode(deleter, DELETER) as (object: bigint) => void)(object)
  }

  has(name: string): boolean {
    return this.functions.has(name)
  }

  private function(name: string): Native {
    const f = this.functions.get(name)
    if (!f) throw new PjrtError(`${this.path}: the plugin (PJRT ${this.version}) has no PJRT_${name}`)
    return f
  }

  private check(name: string, error: bigint | number): void {
    if (!error) return
    const message = struct(error, 0, 0)
    this.invoke('Error_Message', message)
    const what = stringAt(message.get(3), message.get(4))
    const code = struct(error, 0)
    this.invoke('Error_GetCode', code)
    this.invoke('Error_Destroy', struct(error))
    if (Number(code.get(3) & 0xffffffffn) !== RESOURCE_EXHAUSTED) throw new PjrtError(`${name}: ${what}`)
    throw new OutOfMemoryError(`${name}: ${what.replace(/\.?\s*$/, '.')} ${this.memoryInWords()}`)
  }
}

/** XLA tells on stderr what it does; warnings and errors are enough, unless the user asked for more. The plugin reads the C
 * library's environment, of which process.env is a copy in a worker. */
function quietLogs(): void {
  try {
    koffi.load('libc.so.6').func('int setenv(const char*, const char*, int)')('TF_CPP_MIN_LOG_LEVEL', '1', 0)
  } catch {
    // another C library
  }
}

/** koffi unloads a library when the process ends, which a PJRT plugin does not survive: pin it first. */
function keepLoaded(path: string): void {
  for (const libc of ['libc.so.6', 'libdl.so.2'])
    try {
      const dlopen = koffi.load(libc).func('void* dlopen(const char*, int)')
      if (!dlopen(path, RTLD_NOW_NODELETE)) {
        const dlerror = koffi.load(libc).func('const char* dlerror()')
        throw new PjrtError(`${path}: the plugin cannot be loaded: ${dlerror() as string}`)
      }
      return
    } catch (error) {
      if (error instanceof PjrtError) throw error
    }
}
