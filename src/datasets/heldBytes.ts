/** What a value takes in memory, about; what stands in it twice counts twice.
 * @param buffers whether bytes count that lie beside the heap */
export function heldBytes(value: unknown, buffers = false): number {
  if (typeof value === 'string') return 24 + value.length
  if (typeof value !== 'object' || value === null) return 8
  if (ArrayBuffer.isView(value)) return 128 + (buffers ? value.byteLength : 0)
  return Object.values(value).reduce<number>((sum, child) => sum + 8 + heldBytes(child, buffers), 56)
}
