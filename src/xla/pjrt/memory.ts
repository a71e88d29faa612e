import { setFlagsFromString } from 'node:v8'
import koffi from 'koffi'
import { OutOfMemoryError, sizeInWords } from './errors.js'

const ARENAS = 2

/** Off-heap memory whose address stays valid while the block is reachable: V8 moves typed arrays of 64 bytes or less, never an
 * ArrayBuffer's store, but it frees the store of a block that only its address recalls. So a block holds what it points to,
 * and {@link import('./api.js').PjrtApi.call} holds its arguments. */
export class Block {
  readonly address: bigint
  private readonly words: BigUint64Array
  private readonly targets: Block[] = []

  /** @throws OutOfMemoryError if the host has no room */
  constructor(size: number) {
    const store = allocate(Math.max(size, 8))
    this.words = new BigUint64Array(store, 0, store.byteLength >>> 3)
    this.address = BigInt(koffi.address(store))
  }
  get bytes(): Uint8Array {
    return new Uint8Array(this.words.buffer)
  }
  /** The i-th 8-byte word. */
  get(i: number): bigint {
    return this.words[i]!
  }
  set(i: number, value: Word): void {
    if (value instanceof Block) {
      this.targets.push(value)
      this.words[i] = value.address
    } else this.words[i] = typeof value === 'bigint' ? value : BigInt(value) // negative numbers wrap
  }
}

function allocate(bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes)
  } catch {
    throw new OutOfMemoryError(`${sizeInWords(bytes)} of values do not fit into the memory of the host.`)
  }
}

/** A number, or a pointer to a block. */
export type Word = bigint | number | Block

/** An array of 8-byte words; every field of a PJRT struct is one word, or an int padded to one. */
export function words(values: readonly Word[]): Block {
  const block = new Block(8 * values.length)
  values.forEach((value, i) => block.set(i, value))
  return block
}

/** A PJRT argument struct: its size, no extension, then the fields. Field i is word i + 2. */
export function struct(...fields: Word[]): Block {
  return words([8 * (fields.length + 2), 0, ...fields])
}

export function text(value: string | Uint8Array): Block {
  const encoded = typeof value === 'string' ? new TextEncoder().encode(value) : value
  const block = new Block(encoded.length)
  block.bytes.set(encoded)
  return block
}

/** The address of a C function without effect, for a callback that must be there. */
export function doNothing(): bigint {
  return BigInt(koffi.address(koffi.load('libc.so.6').symbol('getpid')))
}

/** A copy of `size` bytes at an address. */
export function bytesAt(address: bigint, size: bigint | number): Uint8Array {
  return size === 0n || size === 0 ? new Uint8Array() : new Uint8Array(koffi.view(address, Number(size))).slice()
}

export function stringAt(address: bigint, size: bigint | number): string {
  return new TextDecoder().decode(bytesAt(address, size))
}

/** Settings of the process that keep its memory as it is from step to step.
 *
 * glibc keeps large freed blocks for the next program: by default they return to the system, and each step pays for fresh pages (a
 * train step on the CPU took 1.7 times the processor time). Threads share a few arenas: with one each, which is the default, what
 * one frees another cannot use, and memory grows for thousands of steps. V8 no longer puts objects where it rarely collects because
 * many of their kind survived: a state's buffers do, until the next step. */
export function tuneMemory(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
  const [M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX] = [-1, -4, -8]
  try {
    const mallopt = koffi.load('libc.so.6').func('int mallopt(int, int)')
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 0x7fffffff)
    mallopt(M_ARENA_MAX, ARENAS)
  } catch {
    // another C library
  }
}
