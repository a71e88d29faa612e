import { Node, Trace } from './graph.js'
import type { Region, ValueType } from './graph.js'
import { autocastType } from './autocast.js'
import type { Sharding } from './sharding.js'
import { ELEMENT, integerRange, isFloat, promote, sizeOf, sumType, tensorType } from './types.js'
import type { ElementType } from './types.js'

/* StableHLO operations as functions from nodes to nodes. Each infers its result's shape; only plain syntax that has been
 * stable for years is used. https://openxla.org/stablehlo/spec */

const i64s = (values: readonly number[]): string => (values.length ? `array<i64: ${values.join(', ')}>` : 'array<i64>')
const list = (values: readonly number[]): string => `[${values.join(', ')}]`
const pairs = (values: readonly (readonly [number, number])[]): string =>
  `dense<${values.length ? `[${values.map(list).join(', ')}]` : ''}> : tensor<${values.length}x2xi64>`

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i])

// Leaves

/** A floating-point number as MLIR reads it: shortest digits that round-trip, non-finite values as bits. */
function floatText(value: number, type: ElementType): string {
  if (Number.isFinite(value)) {
    const digits = value.toExponential()
    return digits.includes('.') ? digits : digits.replace('e', '.0e')
  }
  const bits = {
    f32: ['7FC00000', '7F800000', 'FF800000'],
    f16: ['7E00', '7C00', 'FC00'],
    bf16: ['7FC0', '7F80', 'FF80'],
  }
  const [nan, inf, minus] = bits[type as 'f32'] as [string, string, string]
  return `0x${Number.isNaN(value) ? nan : value > 0 ? inf : minus}`
}

export function literalText(value: number | bigint, type: ElementType): string {
  if (isFloat(type)) return floatText(type === 'f32' ? Math.fround(Number(value)) : Number(value), type)
  if (type === 'pred') return value ? 'true' : 'false'
  const bits = 8 * ELEMENT[type].bytes
  const integer = typeof value === 'bigint' ? value : BigInt(Math.trunc(value))
  return String(type.startsWith('s') ? BigInt.asIntN(bits, integer) : BigInt.asUintN(bits, integer))
}

/** One value everywhere. */
export function fill(value: number | bigint, shape: readonly number[], type: ElementType): Node {
  return new Node(
    'constant',
    [],
    `value = dense<${literalText(value, type)}> : ${tensorType(shape, type)}`,
    shape,
    type,
  )
}

/** A small array of values, row-major. */
export function constant(values: ArrayLike<number>, shape: readonly number[], type: ElementType): Node {
  if (values.length === 0) return fill(0, shape, type)
  let next = 0
  const nest = (axis: number): string => {
    if (axis === shape.length) return literalText(values[next++]!, type)
    return `[${Array.from({ length: shape[axis]! }, () => nest(axis + 1)).join(', ')}]`
  }
  return new Node('constant', [], `value = dense<${nest(0)}> : ${tensorType(shape, type)}`, shape, type)
}

export function iota(shape: readonly number[], axis: number, type: ElementType): Node {
  return new Node('iota', [], `iota_dimension = ${axis} : i64`, shape, type)
}

/** An input of a program or a block argument of a region. */
export function parameter({ shape, type }: ValueType): Node {
  return new Node('parameter', [], '', shape, type)
}

// Shapes

export function reshape(x: Node, shape: readonly number[]): Node {
  if (same(x.shape, shape)) return x
  if (sizeOf(shape) !== size(x))
    throw new Error(
      `reshape: [${x.shape.join(',')}] has ${size(x)} values; needed ${sizeOf(shape)} for [${shape.join(',')}]`,
    )
  return new Node('stablehlo.reshape', [x], '', shape, x.type)
}

/** Numpy broadcasting to a shape. */
export function broadcast(x: Node, shape: readonly number[]): Node {
  if (same(x.shape, shape)) return x
  const offset = shape.length - x.shape.length
  const kept = x.shape.map((d, i) => i).filter(i => x.shape[i] === shape[i + offset])
  const source =
    kept.length === x.shape.length
      ? x
      : reshape(
          x,
          kept.map(i => x.shape[i]!),
        )
  return broadcastInDim(
    source,
    shape,
    kept.map(i => i + offset),
  )
}

/** Axis i of x becomes axis `axes[i]` of the result. */
export function broadcastInDim(x: Node, shape: readonly number[], axes: readonly number[]): Node {
  return new Node('stablehlo.broadcast_in_dim', [x], `broadcast_dimensions = ${i64s(axes)}`, shape, x.type)
}

export function broadcastShape(a: readonly number[], b: readonly number[]): readonly number[] {
  if (same(a, b)) return a
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const p = a[i - rank + a.length] ?? 1
    const q = b[i - rank + b.length] ?? 1
    if (p !== q && p !== 1 && q !== 1) throw new Error(`shapes [${a.join(',')}] and [${b.join(',')}] do not broadcast`)
    return p === 1 ? q : p
  })
}

export function transpose(x: Node, permutation: readonly number[]): Node {
  if (permutation.every((p, i) => p === i)) return x
  const shape = permutation.map(p => x.shape[p]!)
  return new Node('stablehlo.transpose', [x], `permutation = ${i64s(permutation)}`, shape, x.type)
}

export function slice(x: Node, start: readonly number[], limit: readonly number[], strides?: readonly number[]): Node {
  const step = strides ?? x.shape.map(() => 1)
  const shape = start.map((s, i) => Math.max(0, Math.ceil((limit[i]! - s) / step[i]!)))
  if (same(shape, x.shape) && step.every(s => s === 1)) return x
  const attributes = `start_indices = ${i64s(start)}, limit_indices = ${i64s(limit)}, strides = ${i64s(step)}`
  return new Node('stablehlo.slice', [x], attributes, shape, x.type)
}

export function concatenate(xs: readonly Node[], axis: number): Node {
  if (xs.length === 1) return xs[0]!
  const { shape: first } = xs[0]!
  const type = xs.map(x => x.type).reduce(promote)
  for (const x of xs)
    if (!same(first.toSpliced(axis, 1), x.shape.toSpliced(axis, 1)))
      throw new Error(
        `concat along axis ${axis}: [${first.join(',')}] and [${x.shape.join(',')}]; needed shapes equal but for that axis`,
      )
  const shape = xs[0]!.shape.map((d, i) => (i === axis ? xs.reduce((n, x) => n + x.shape[axis]!, 0) : d))
  const parts = xs.map(x => convert(x, type))
  return new Node('stablehlo.concatenate', parts, `dimension = ${axis} : i64`, shape, type)
}

/** Padding may be negative (cropping); `interior` zeros go between neighbours. */
export function pad(
  x: Node,
  value: Node,
  low: readonly number[],
  high: readonly number[],
  interior?: readonly number[],
): Node {
  const between = interior ?? x.shape.map(() => 0)
  const shape = x.shape.map((d, i) => low[i]! + high[i]! + d + Math.max(0, d - 1) * between[i]!)
  const attributes = `edge_padding_low = ${i64s(low)}, edge_padding_high = ${i64s(high)}, interior_padding = ${i64s(between)}`
  return new Node('stablehlo.pad', [x, value], attributes, shape, x.type)
}

export function reverse(x: Node, axes: readonly number[]): Node {
  return new Node('stablehlo.reverse', [x], `dimensions = ${i64s(axes)}`, x.shape, x.type)
}

export function dynamicSlice(x: Node, starts: readonly Node[], sizes: readonly number[]): Node {
  return new Node('stablehlo.dynamic_slice', [x, ...starts], `slice_sizes = ${i64s(sizes)}`, sizes, x.type)
}

export function dynamicUpdateSlice(x: Node, update: Node, starts: readonly Node[]): Node {
  return new Node('stablehlo.dynamic_update_slice', [x, update, ...starts], '', x.shape, x.type)
}

// Elementwise

export function convert(x: Node, type: ElementType): Node {
  return x.type === type ? x : new Node('stablehlo.convert', [x], '', x.shape, type)
}

/** The same bits as another type of equal width. */
export function bitcast(x: Node, type: ElementType): Node {
  return x.type === type ? x : new Node('stablehlo.bitcast_convert', [x], '', x.shape, type)
}

export function unary(op: string, x: Node, type: ElementType = x.type): Node {
  return new Node(`stablehlo.${op}`, [x], '', x.shape, type)
}

/** A function of the CHLO dialect, which the compiler expands: asin, erf, …. */
export function chlo(op: string, x: Node): Node {
  return new Node(`chlo.${op}`, [x], '', x.shape, x.type)
}

/** The type in which two operands meet; a weak float takes the other's float type. */
function promoted(a: Node, b: Node): ElementType {
  if (a.weak !== b.weak && isFloat(a.type) && isFloat(b.type)) return a.weak ? b.type : a.type
  return promote(a.type, b.type)
}

/** Broadcasts both operands and promotes them to one type. */
export function align(a: Node, b: Node): [Node, Node] {
  const type = promoted(a, b)
  const shape = broadcastShape(a.shape, b.shape)
  return [broadcast(convert(a, type), shape), broadcast(convert(b, type), shape)]
}

export function binary(op: string, a: Node, b: Node): Node {
  const [p, q] = align(a, b)
  return new Node(`stablehlo.${op}`, [p, q], '', p.shape, p.type)
}

export const add = (a: Node, b: Node): Node => binary('add', a, b)
export const subtract = (a: Node, b: Node): Node => binary('subtract', a, b)
export const multiply = (a: Node, b: Node): Node => binary('multiply', a, b)
export const divide = (a: Node, b: Node): Node => binary('divide', a, b)
export const maximum = (a: Node, b: Node): Node => binary('maximum', a, b)
export const minimum = (a: Node, b: Node): Node => binary('minimum', a, b)

/** The number as a node that fits x. */
export const like = (x: Node, value: number): Node => fill(value, x.shape, x.type)

export type Comparison = 'EQ' | 'NE' | 'GT' | 'GE' | 'LT' | 'LE'

export function compare(direction: Comparison, a: Node, b: Node): Node {
  const [p, q] = align(a, b)
  const attributes = `comparison_direction = #stablehlo<comparison_direction ${direction}>`
  return new Node('stablehlo.compare', [p, q], attributes, p.shape, 'pred')
}

/** Where the condition holds a, elsewhere b; all three broadcast. */
export function select(condition: Node, a: Node, b: Node): Node {
  const [p, q] = align(a, b)
  const shape = broadcastShape(condition.shape, p.shape)
  const operands = [broadcast(condition, shape), broadcast(p, shape), broadcast(q, shape)]
  const node = new Node('stablehlo.select', operands, '', shape, p.type)
  node.weak = p.weak && q.weak
  return node
}

export const isNaN = (x: Node): Node => compare('NE', x, x)

// Reductions

const scalarRegion = (op: string, type: ElementType): string => {
  const t = tensorType([], type)
  return `^bb0(%p: ${t}, %q: ${t}): %r = stablehlo.${op} %p, %q : ${t} stablehlo.return %r : ${t}`
}

export type Reducer = 'add' | 'multiply' | 'maximum' | 'minimum' | 'and' | 'or'

/** The value that leaves the other operand as it is. */
export function identity(reducer: Reducer, type: ElementType): number | bigint {
  switch (reducer) {
    case 'add':
    case 'or':
      return 0
    case 'multiply':
    case 'and':
      return 1
    case 'maximum':
      return isFloat(type) ? -Infinity : integerRange(type)[0]
    case 'minimum':
      return isFloat(type) ? Infinity : integerRange(type)[1]
  }
}

/** Reduces axes away. Half-precision sums run in f32. */
export function reduce(reducer: Reducer, x: Node, axes: readonly number[]): Node {
  if (axes.length === 0) return x
  if (isFloat(x.type) && x.type !== 'f32' && reducer !== 'maximum' && reducer !== 'minimum')
    return convert(reduce(reducer, convert(x, 'f32'), axes), x.type)
  const shape = x.shape.filter((_, i) => !axes.includes(i))
  const init = fill(identity(reducer, x.type), [], x.type)
  const sorted = [...axes].sort((a, b) => a - b)
  return new Node('stablehlo.reduce', [x, init], `dimensions = ${i64s(sorted)}`, shape, x.type, [
    scalarRegion(reducer, x.type),
  ])
}

export interface Window {
  size: readonly number[]
  strides: readonly number[]
  padding: readonly (readonly [number, number])[]
  baseDilations?: readonly number[]
  dilations?: readonly number[]
}

/** Reduces each window of x. */
export function reduceWindow(reducer: Reducer, x: Node, window: Window): Node {
  const ones = x.shape.map(() => 1)
  const base = window.baseDilations ?? ones
  const dilations = window.dilations ?? ones
  const shape = x.shape.map((d, i) => {
    const padded = (d === 0 ? 0 : (d - 1) * base[i]! + 1) + window.padding[i]![0] + window.padding[i]![1]
    const span = (window.size[i]! - 1) * dilations[i]! + 1
    return padded < span ? 0 : Math.floor((padded - span) / window.strides[i]!) + 1
  })
  const attributes =
    `window_dimensions = ${i64s(window.size)}, window_strides = ${i64s(window.strides)}, ` +
    `base_dilations = ${i64s(base)}, window_dilations = ${i64s(dilations)}, padding = ${pairs(window.padding)}`
  const init = fill(identity(reducer, x.type), [], x.type)
  return new Node('stablehlo.reduce_window', [x, init], attributes, shape, x.type, [scalarRegion(reducer, x.type)])
}

/** Adds each value of `source` to the place of its window's maximum in `x`: the gradient of max pooling. Half-precision
 * sums run in f32. */
export function selectAndScatter(x: Node, source: Node, window: Window): Node {
  if (x.type !== 'f32') return convert(selectAndScatter(convert(x, 'f32'), convert(source, 'f32'), window), x.type)
  const t = tensorType([], x.type)
  const greater =
    `^bb0(%p: ${t}, %q: ${t}): %r = stablehlo.compare GE, %p, %q : (${t}, ${t}) -> tensor<i1> ` +
    `stablehlo.return %r : tensor<i1>`
  const attributes = `window_dimensions = ${i64s(window.size)}, window_strides = ${i64s(window.strides)}, padding = ${pairs(window.padding)}`
  const operands = [x, source, fill(0, [], x.type)]
  return new Node('stablehlo.select_and_scatter', operands, attributes, x.shape, x.type, [
    greater,
    scalarRegion('add', x.type),
  ])
}

// Products

export interface DotAxes {
  batch: readonly [readonly number[], readonly number[]]
  contract: readonly [readonly number[], readonly number[]]
}

const HIGHEST = '[#stablehlo<precision HIGHEST>, #stablehlo<precision HIGHEST>]'

/** The type that a product is computed in: for floats autocast's, where that is on. */
export function productType(a: Node, b: Node): ElementType {
  const type = promoted(a, b)
  return isFloat(type) ? (autocastType() ?? type) : type
}

/** Sums of products are kept in a wide type: f32 for floats, s32 for 8-bit integers. */
const accumulator = (type: ElementType): ElementType => (isFloat(type) ? 'f32' : sumType(type))

/** Generalised matrix product: batch axes, then the free axes of a, then those of b. Floats are accumulated in f32 and come
 * back in their type, or `wide` in f32; the product of 8-bit integers is s32. */
export function dot(a: Node, b: Node, { batch, contract }: DotAxes, wide = false): Node {
  const extents = (side: 0 | 1, x: Node) => [...batch[side], ...contract[side]].map(i => x.shape[i]!)
  if (!same(extents(0, a), extents(1, b)))
    throw new Error(
      `matrix product of [${a.shape.join(',')}] and [${b.shape.join(',')}]: the axes that go together have ` +
        `${extents(0, a).join(',')} and ${extents(1, b).join(',')} entries; needed the same`,
    )
  const type = productType(a, b)
  const p = convert(a, type)
  const q = convert(b, type)
  const free = (x: Node, side: 0 | 1) =>
    x.shape.filter((_, i) => !batch[side].includes(i) && !contract[side].includes(i))
  const shape = [...batch[0].map(i => a.shape[i]!), ...free(a, 0), ...free(b, 1)]
  const attributes =
    `dot_dimension_numbers = #stablehlo.dot<lhs_batching_dimensions = ${list(batch[0])}, ` +
    `rhs_batching_dimensions = ${list(batch[1])}, lhs_contracting_dimensions = ${list(contract[0])}, ` +
    `rhs_contracting_dimensions = ${list(contract[1])}>, precision_config = ${HIGHEST}`
  const product = new Node('stablehlo.dot_general', [p, q], attributes, shape, accumulator(type))
  return isFloat(type) && !wide ? convert(product, type) : product
}

export interface Convolution {
  /** Layouts such as "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]". */
  layout: string
  outShape: readonly number[]
  strides: readonly number[]
  padding: readonly (readonly [number, number])[]
  inputDilation?: readonly number[]
  filterDilation?: readonly number[]
  reverse?: boolean
  featureGroups?: number
  batchGroups?: number
}

/** Accumulates in f32. */
export function convolution(x: Node, filter: Node, c: Convolution): Node {
  const type = productType(x, filter)
  const ones = c.strides.map(() => 1)
  const attributes =
    `window_strides = ${i64s(c.strides)}, padding = ${pairs(c.padding)}, lhs_dilation = ${i64s(c.inputDilation ?? ones)}, ` +
    `rhs_dilation = ${i64s(c.filterDilation ?? ones)}, ` +
    `window_reversal = array<i1: ${c.strides.map(() => String(c.reverse ?? false)).join(', ')}>, ` +
    `dimension_numbers = #stablehlo.conv<${c.layout}>, feature_group_count = ${c.featureGroups ?? 1} : i64, ` +
    `batch_group_count = ${c.batchGroups ?? 1} : i64, precision_config = ${HIGHEST}`
  const operands = [convert(x, type), convert(filter, type)]
  return convert(new Node('stablehlo.convolution', operands, attributes, c.outShape, accumulator(type)), type)
}

// Indexed access

export interface GatherAxes {
  offset: readonly number[]
  collapsed: readonly number[]
  startMap: readonly number[]
  indexVector: number
  sizes: readonly number[]
}

/** Slices of x at the given start indices; out-of-range starts are clamped. */
export function gather(x: Node, indices: Node, axes: GatherAxes, shape: readonly number[]): Node {
  const attributes =
    `dimension_numbers = #stablehlo.gather<offset_dims = ${list(axes.offset)}, collapsed_slice_dims = ${list(axes.collapsed)}, ` +
    `start_index_map = ${list(axes.startMap)}, index_vector_dim = ${axes.indexVector}>, ` +
    `slice_sizes = ${i64s(axes.sizes)}, indices_are_sorted = false`
  return new Node('stablehlo.gather', [x, indices], attributes, shape, x.type)
}

export interface ScatterAxes {
  updateWindow: readonly number[]
  inserted: readonly number[]
  operandMap: readonly number[]
  indexVector: number
}

/** Combines updates into x at the given indices; out-of-range updates are dropped. */
export function scatter(x: Node, indices: Node, updates: Node, axes: ScatterAxes, how: Reducer | 'replace'): Node {
  const t = tensorType([], x.type)
  const region = how === 'replace' ? `^bb0(%p: ${t}, %q: ${t}): stablehlo.return %q : ${t}` : scalarRegion(how, x.type)
  const attributes =
    `scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = ${list(axes.updateWindow)}, ` +
    `inserted_window_dims = ${list(axes.inserted)}, scatter_dims_to_operand_dims = ${list(axes.operandMap)}, ` +
    `index_vector_dim = ${axes.indexVector}>, indices_are_sorted = false, unique_indices = false`
  return new Node('stablehlo.scatter', [x, indices, updates], attributes, x.shape, x.type, [region])
}

// Operations with several results, and with regions

export function several(
  op: string,
  operands: readonly Node[],
  attributes: string,
  results: readonly ValueType[],
  regions: readonly (Region | string)[] = [],
): Node[] {
  const parent = new Node(op, operands, attributes, [], 'pred', regions, results)
  return results.map((r, i) => new Node('result', [parent], '', r.shape, r.type, [], null, i))
}

/** Sorts along an axis by the first operand; the others follow. NaN counts as the largest, as in numpy. */
export function sort(keys: Node, followers: readonly Node[], axis: number, descending = false): Node[] {
  const all = [keys, ...followers]
  const region = new Trace('sort').run((): Region => {
    const parameters = all.flatMap(x => [
      parameter({ shape: [], type: x.type }),
      parameter({ shape: [], type: x.type }),
    ])
    const [p, q] = parameters as [Node, Node]
    return { parameters, results: [descending ? compare('GT', p, q) : compare('LT', p, q)] }
  })
  return several('stablehlo.sort', all, `dimension = ${axis} : i64, is_stable = true`, all, [region])
}

/** The k largest of the last axis, descending, and their indices (s32). */
export function topK(x: Node, k: number): [Node, Node] {
  const shape = [...x.shape.slice(0, -1), k]
  const results = [
    { shape, type: x.type },
    { shape, type: 's32' as const },
  ]
  return several('chlo.top_k', [x], `k = ${k} : i64`, results) as [Node, Node]
}

/** Keeps the optimizer from moving computation across: values pass through unchanged. */
export function barrier(xs: readonly Node[]): Node[] {
  return several('stablehlo.optimization_barrier', xs, '', xs)
}

/** x, divided over the devices of a mesh like this. */
export function constrain(x: Node, sharding: Sharding): Node {
  return new Node('sdy.sharding_constraint', [x], `sharding = ${sharding.text}`, x.shape, x.type)
}

export const size = (x: Node): number => sizeOf(x.shape)
