import type { ElementType } from './types.js'

/* Values between JavaScript arrays and the bytes the device holds (little-endian, row-major). */

const scratch = new DataView(new ArrayBuffer(4))

/** Round to nearest even; NaN stays NaN. */
export function toBfloat16(value: number): number {
  scratch.setFloat32(0, value)
  const bits = scratch.getUint32(0)
  if (Number.isNaN(value)) return ((bits >>> 16) | 0x40) & 0xffff
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}

export function fromBfloat16(bits: number): number {
  scratch.setUint32(0, bits << 16)
  return scratch.getFloat32(0)
}

/** Round to nearest even; overflow is infinite. */
export function toFloat16(value: number): number {
  scratch.setFloat32(0, value)
  const bits = scratch.getUint32(0)
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude < 0x38800000) {
    // subnormal: the value in units of 2^-24
    const units = Math.abs(value) * 2 ** 24
    const down = Math.floor(units)
    const rest = units - down
    return sign | (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down)
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1)
  return sign | ((rounded - 0x38000000) >>> 13)
}

export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >>> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? NaN : sign * Infinity
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)

/** A copy of values in the device's layout. */
export function toDevice(values: ArrayLike<number>, type: ElementType): Uint8Array {
  switch (type) {
    case 'f32':
      return bytesOf(Float32Array.from(values))
    case 's32':
      return bytesOf(Int32Array.from(values))
    case 'u32':
      return bytesOf(Uint32Array.from(values))
    case 's64':
      return bytesOf(BigInt64Array.from(Array.from(values, v => BigInt(Math.trunc(v)))))
    case 's8':
      return bytesOf(Int8Array.from(values))
    case 'u8':
      return Uint8Array.from(values)
    case 'pred':
      return Uint8Array.from(values, v => (v ? 1 : 0))
    case 'bf16':
      return bytesOf(Uint16Array.from(values, toBfloat16))
    case 'f16':
      return bytesOf(Uint16Array.from(values, toFloat16))
  }
}

/** Values as tfjs reads them: Float32Array, Int32Array or, for bool, Uint8Array. @param bytes owned, at offset 0 */
export function fromDevice(bytes: Uint8Array, type: ElementType): Float32Array | Int32Array | Uint8Array {
  const { buffer, byteOffset, length } = bytes
  switch (type) {
    case 'f32':
      return new Float32Array(buffer, byteOffset, length / 4)
    case 's32':
    case 'u32':
      return new Int32Array(buffer, byteOffset, length / 4)
    case 's64':
      return Int32Array.from(new BigInt64Array(buffer, byteOffset, length / 8), Number)
    case 's8':
      return Int32Array.from(new Int8Array(buffer, byteOffset, length))
    case 'u8':
      return Int32Array.from(bytes)
    case 'pred':
      return bytes
    case 'bf16':
      return Float32Array.from(new Uint16Array(buffer, byteOffset, length / 2), fromBfloat16)
    case 'f16':
      return Float32Array.from(new Uint16Array(buffer, byteOffset, length / 2), fromFloat16)
  }
}
