import { inspect } from 'node:util'
import type { Pixels } from '../plots/index.js'

/** A value in plain text: strings as they are, tensors and charts in one line, tables by their first rows.
 * Reads no tensor data, so it never waits for a device. */
export function plainText(value: unknown): string {
  if (typeof value === 'string') return value
  if (isTensor(value)) return `Tensor ${value.dtype} [${value.shape.join(', ')}]`
  if (isVegaLite(value)) return `vega-lite chart${typeof value.title === 'string' ? `: ${value.title}` : ''}`
  if (isTable(value)) return value.toMarkdown({ limit: 20 })
  if (isPixels(value)) return `image ${value.width} × ${value.height}`
  return inspect(value, { depth: 4 })
}

export interface VegaLite {
  readonly $schema: string
  readonly title?: unknown
}
export const isVegaLite = (value: unknown): value is VegaLite =>
  /\/vega-lite\//.test(String((value as VegaLite | null | undefined)?.$schema))

/** The part of an arquero table that showing it needs. */
export interface Table {
  columnNames(): string[]
  numRows(): number
  rename(names: Record<string, string>): Table
  toHTML(options: { limit: number }): string
  toMarkdown(options: { limit: number }): string
}
export const isTable = (value: unknown): value is Table =>
  has(value, 'toHTML', 'function') && has(value, 'toMarkdown', 'function') && has(value, 'columnNames', 'function')

export const isPixels = (value: unknown): value is Pixels => {
  const { data, width, height } = (value ?? {}) as Partial<Pixels>
  const bytes = data instanceof Uint8Array || data instanceof Uint8ClampedArray
  return bytes && data.length > 0 && data.length === Number(width) * Number(height) * 4
}

const isTensor = (value: unknown): value is { shape: number[]; dtype: string } =>
  has(value, 'dataSync', 'function') && has(value, 'shape', 'object') && has(value, 'dtype', 'string')

function has(value: unknown, name: string, type: string): boolean {
  return typeof value === 'object' && value !== null && typeof (value as Record<string, unknown>)[name] === type
}
