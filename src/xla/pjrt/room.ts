import { freemem } from 'node:os'
import type { PjrtClient } from './client.js'
import { OutOfMemoryError, sizeInWords } from './errors.js'
import { struct } from './memory.js'

const LARGE = 2 ** 26 // bytes, from which a program on the CPU is asked whether there is room for it
const NAMED = 5 // of the kinds of tensors, in a message

/** Tensors of one shape and type. */
export interface Holding {
  /** For example "f32[2,3]". */
  kind: string
  count: number
  /** On all devices. */
  bytes: number
}

/** What the buffers alive now hold, by shape and type, largest first. */
export function holdings(client: PjrtClient): Holding[] {
  const found = new Map<string, Holding>()
  for (const { type, shape, bytes, handles } of client.allocations()) {
    const kind = `${type}[${shape.join(',')}]`
    const holding = found.get(kind) ?? { kind, count: 0, bytes: 0 }
    holding.count++
    holding.bytes += bytes * handles.length
    found.set(kind, holding)
  }
  return [...found.values()].sort((a, b) => b.bytes - a.bytes)
}

/** Bytes on a device, as its plugin tells them. */
export interface DeviceMemory {
  inUse: number
  peak: number | null
  limit: number | null
  largestFree: number | null
}

/** Null where the plugin says nothing, as for the CPU. */
export function deviceMemory(client: PjrtClient, device: bigint): DeviceMemory | null {
  try {
    const stats = client.api.call('Device_MemoryStats', struct(device, ...Array<0>(21).fill(0)))
    const optional = (i: number) => (stats.get(i + 1) & 1n ? Number(stats.get(i)) : null) // the word after says whether it is set
    return { inUse: Number(stats.get(3)), peak: optional(4), limit: optional(10), largestFree: optional(18) }
  } catch {
    return null
  }
}

/** Bytes that can still be had on the first device; null if nobody knows. On the CPU at most so many: what the process keeps beside
 * its tensors counts as free. */
function free(client: PjrtClient): number | null {
  if (client.platform !== 'cpu') {
    const reported = deviceMemory(client, client.devices[0]!)
    return reported?.limit ? reported.limit - reported.inUse : null
  }
  const resident = process.memoryUsage.rss()
  const granted = (process.constrainedMemory() || Infinity) - resident // in a container; files in its cache can be dropped
  return Math.min(freemem(), granted) + Math.max(0, resident - client.liveBytes)
}

/** What is held and what is free, and what to do about it. */
export function memoryInWords(client: PjrtClient): string {
  const left = free(client)
  const largest = holdings(client).slice(0, NAMED)
  return (
    `Tensors hold ${sizeInWords(client.liveBytes)}${left === null ? '' : `, ${sizeInWords(left)} are free`}. ` +
    (largest.length === 0
      ? ''
      : `The largest: ${largest.map(h => `${h.count} × ${h.kind} (${sizeInWords(h.bytes)})`).join(', ')}. `) +
    'Dispose of tensors that are not needed, or make the batch or the sequences smaller.'
  )
}

/** On the CPU the system would grant more memory than there is, and end the process when it is used.
 * @throws OutOfMemoryError if a program cannot have the bytes that it needs */
export function requireRoom(client: PjrtClient, program: string, bytes: number): void {
  if (bytes < LARGE || bytes <= (free(client) ?? Infinity)) return
  throw new OutOfMemoryError(
    `xla: the program "${program}" needs ${sizeInWords(bytes)} for its results and on the way. ${memoryInWords(client)}`,
  )
}
