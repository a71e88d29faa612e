import type { Tiling } from '../sharding.js'

/* What the compiler is told of the devices that a program runs on, and what it tells of where results lie: protocol buffers,
 * of which this much is needed. Sources: xla/pjrt/proto/compile_options.proto, xla/service/hlo.proto, xla/xla_data.proto. */

/** CompileOptionsProto. @param mesh devices that Shardy partitions the program over, the client's first ones; null: one, as it is */
export function compileOptions(platform: string, mesh: number | null): Uint8Array {
  const devices = mesh ?? 1
  const build = [...int(4, 1), ...int(5, devices)] // num_replicas, num_partitions
  if (mesh !== null) {
    const computations = Array.from({ length: devices }, (_, id) => bytes(3, bytes(1, varint(id)))) // computation_devices
    const assignment = [...int(1, 1), ...int(2, devices), ...computations.flat()] // replica_count, computation_count
    build.push(
      ...int(6, 1), // use_spmd_partitioning
      ...bytes(9, assignment), // device_assignment
      ...bytes(12, [1]), // allow_spmd_sharding_propagation_to_output
      ...int(19, 1), // use_shardy_partitioner
    )
  }
  const options = bytes(3, build) // executable_build_options
  // XNNPACK's products in the CPU plugin keep a packed copy of a parameter by its address, and go on reading that copy when other
  // values lie there: after an update in place, or in memory that was freed and given out again.
  if (platform === 'cpu') options.push(...bytes(7, [...text(1, 'xla_cpu_use_xnnpack'), ...bytes(2, int(2, 0))])) // env_option_overrides
  return Uint8Array.from(options)
}

/** Where the results of a partitioned program lie. @param optimized HloModuleProtoWithConfig */
export function outputTilings(optimized: Uint8Array): Tiling[] {
  const module = submessage(optimized, 1)
  const sharding = submessage(module, 12) // spmd_output_sharding
  const tuple = [...fields(sharding)].filter(({ field }) => field === 5) // tuple_shardings
  return tuple.length > 0 ? tuple.map(({ value }) => tiling(value as Uint8Array)) : [tiling(sharding)]
}

const OTHER = 3

/** @param sharding OpSharding */
function tiling(sharding: Uint8Array): Tiling {
  let type = 0
  const lists: Record<number, number[]> = {}
  for (const { field, value } of fields(sharding))
    if (field === 1) type = value as number
    else (lists[field] ??= []).push(...(typeof value === 'number' ? [value] : varints(value)))
  if (type !== OTHER) return { dimensions: [], devices: [] } // replicated
  const { 3: dimensions = [], 4: listed, 9: grid = [], 10: order = [] } = lists
  return { dimensions, devices: listed ?? transposedIota(grid, order) }
}

/** The numbers 0, 1, … in a grid, read in another order of its axes. */
function transposedIota(grid: readonly number[], order: readonly number[]): number[] {
  const strides = grid.map((_, axis) => grid.slice(axis + 1).reduce((n, d) => n * d, 1))
  return order.reduce<number[]>(
    (places, axis) => places.flatMap(at => Array.from({ length: grid[axis]! }, (_, i) => at + i * strides[axis]!)),
    [0],
  )
}

// Wire format, https://protobuf.dev/programming-guides/encoding

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]
}
const int = (field: number, value: number): number[] => [...varint(field << 3), ...varint(value)]
const bytes = (field: number, content: readonly number[]): number[] => [
  ...varint((field << 3) | 2),
  ...varint(content.length),
  ...content,
]
const text = (field: number, content: string): number[] => bytes(field, [...new TextEncoder().encode(content)])

function readVarint(message: Uint8Array, start: number): { value: number; end: number } {
  let [value, factor, end] = [0, 1, start]
  for (let byte = 128; byte >= 128; factor *= 128) value += ((byte = message[end++]!) & 127) * factor
  return { value, end }
}

function varints(message: Uint8Array): number[] {
  const values: number[] = []
  for (let at = 0; at < message.length;) {
    const { value, end } = readVarint(message, at)
    values.push(value)
    at = end
  }
  return values
}

/** Fields of a message that are numbers or bytes. */
function* fields(message: Uint8Array): Generator<{ field: number; value: number | Uint8Array }> {
  for (let at = 0; at < message.length;) {
    const tag = readVarint(message, at)
    const field = tag.value >>> 3
    at = tag.end
    switch (tag.value & 7) {
      case 0: {
        const { value, end } = readVarint(message, at)
        yield { field, value }
        at = end
        break
      }
      case 2: {
        const { value: length, end } = readVarint(message, at)
        yield { field, value: message.subarray(end, end + length) }
        at = end + length
        break
      }
      case 1:
        at += 8
        break
      default:
        at += 4
    }
  }
}

function submessage(message: Uint8Array, wanted: number): Uint8Array {
  for (const { field, value } of fields(message)) if (field === wanted) return value as Uint8Array
  return new Uint8Array()
}
