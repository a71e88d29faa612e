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

export const isFloat = (type: ElementType): boolean => type === 'f32' || type === 'bf16' || type === 'f16'

/** bf16⊕bf16 stays bf16; a float with another float is f32; a float wins over an integer, an integer over bool. */
export function promote(a: ElementType, b: ElementType): ElementType {
  if (a === b) return a
  if (isFloat(a) && isFloat(b)) return 'f32'
  if (isFloat(a)) return a
  if (isFloat(b)) return b
  if (a === 'pred') return b
  if (b === 'pred') return a
  return 's32'
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)
export const bytesOf = (shape: readonly number[], type: ElementType): number => sizeOf(shape) * ELEMENT[type].bytes
export const tensorType = (shape: readonly number[], type: ElementType): string =>
  `tensor<${shape.map(d => `${d}x`).join('')}${ELEMENT[type].mlir}>`
