import type { DataType } from '@tensorflow/tfjs-core'

/** Element types the backend stores. tfjs itself sees float32, int32 and bool. */
export type ElementType = 'f32' | 'bf16' | 'f16' | 's32' | 'u32' | 's64' | 's8' | 'u8' | 'pred'

interface ElementInfo {
  /** Name in StableHLO text. */
  mlir: string
  /** PJRT_Buffer_Type. */
  pjrt: number
  bytes: number
  /** The dtype tfjs sees. */
  dtype: 'float32' | 'int32' | 'bool'
}

export const ELEMENT: Record<ElementType, ElementInfo> = {
  f32: { mlir: 'f32', pjrt: 11, bytes: 4, dtype: 'float32' },
  bf16: { mlir: 'bf16', pjrt: 13, bytes: 2, dtype: 'float32' },
  f16: { mlir: 'f16', pjrt: 10, bytes: 2, dtype: 'float32' },
  s32: { mlir: 'i32', pjrt: 4, bytes: 4, dtype: 'int32' },
  u32: { mlir: 'ui32', pjrt: 8, bytes: 4, dtype: 'int32' },
  s64: { mlir: 'i64', pjrt: 5, bytes: 8, dtype: 'int32' },
  s8: { mlir: 'i8', pjrt: 2, bytes: 1, dtype: 'int32' },
  u8: { mlir: 'ui8', pjrt: 6, bytes: 1, dtype: 'int32' },
  pred: { mlir: 'i1', pjrt: 1, bytes: 1, dtype: 'bool' },
}

export function elementType(dtype: DataType): ElementType {
  switch (dtype) {
    case 'float32':
      return 'f32'
    case 'int32':
      return 's32'
    case 'bool':
      return 'pred'
    default:
      throw new Error(`xla: dtype ${dtype} does not live on the device (float32, int32 and bool do)`)
  }
}

/** Its type for a float, f32 for what a float function is applied to. */
export const floatType = (type: ElementType): ElementType => (isFloat(type) ? type : 'f32')

/** The type of sums and products of many values: 8-bit integers and booleans are counted in s32. */
export const sumType = (type: ElementType): ElementType => (ELEMENT[type].bytes === 1 ? 's32' : type)

export const isFloat = (type: ElementType): boolean => type === 'f32' || type === 'bf16' || type === 'f16'

/** The type in which two operands meet: bf16⊕bf16 stays bf16, a float with another float is f32, a float wins over an
 * integer, an integer over bool. Of two integers the one that holds both wins, else the next that does; u32⊕signed is s64.
 * @source jax.numpy's type promotion, without its 16-bit integers */
export function promote(a: ElementType, b: ElementType): ElementType {
  if (a === b) return a
  if (isFloat(a)) return isFloat(b) ? 'f32' : a
  if (isFloat(b)) return b
  if (a === 'pred') return b
  if (b === 'pred') return a
  const [narrow, wide] = ELEMENT[a].bytes < ELEMENT[b].bytes ? [a, b] : [b, a]
  const signed = (type: ElementType) => type.startsWith('s')
  if (ELEMENT[narrow].bytes < ELEMENT[wide].bytes && (signed(wide) || !signed(narrow))) return wide
  return ELEMENT[wide].bytes === 1 ? 's32' : 's64'
}

/** The lowest and highest integer of a type; s64's do not fit a number. */
export function integerRange(type: ElementType): [lowest: bigint, highest: bigint] {
  if (type === 'pred') return [0n, 1n]
  const bits = BigInt(8 * ELEMENT[type].bytes)
  return type.startsWith('s') ? [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n] : [0n, 2n ** bits - 1n]
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)
export const bytesOf = (shape: readonly number[], type: ElementType): number => sizeOf(shape) * ELEMENT[type].bytes
export const tensorType = (shape: readonly number[], type: ElementType): string =>
  `tensor<${shape.map(d => `${d}x`).join('')}${ELEMENT[type].mlir}>`
