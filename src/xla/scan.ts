import * as tf from '@tensorflow/tfjs-core'
import { backend, onXla } from './backend.js'
import type { Node, ValueType } from './graph.js'
import * as hlo from './hlo.js'
import { whileNodes } from './loops.js'
import { runsByKernel } from './nans.js'
import { ancestors } from './print.js'
import { layOut, recorded, results } from './recorded.js'
import type { Recorded, VectorJacobianProduct } from './recorded.js'
import { mapTensors, tensorsLike, tensorsOf, withTensors } from './tree.js'
import type { TensorTree } from './tree.js'
import { bytesOf } from './types.js'

export interface ScanOptions {
  /** Steps; needed when xs has no tensors. */
  length?: number
  /** Runs from the last slice to the first. */
  reverse?: boolean
  /** Gradient checkpointing: of each step only the carry is kept, and the backward pass computes the rest anew. As a body in
   * {@link import('./checkpoint.js').checkpoint}, without the barrier, which a loop does not need. */
  remat?: boolean
}

export type ScanBody<C, X, Y> = (carry: C, x: X) => [carry: C, y: Y]

/** Carries a state over the leading axis of `xs`: `[carry, y] = body(carry, x)` for each slice x, ys stacked.
 *
 * One loop in one program, whatever the length; differentiable (once) with regard to `init`, `xs` and what the body closes
 * over. The gradient is a second loop, backwards over values that the first one kept.
 * @param init the first carry; its structure, shapes and types stay
 * @param xs tensors [N, …], or null with `options.length`
 * @returns the last carry, and ys [N, …]
 * @throws Error if leading axes differ, the carry changes, or a second derivative is asked for */
export function scan<C extends TensorTree, X extends TensorTree | null, Y extends TensorTree | null>(
  body: ScanBody<C, X, Y>,
  init: C,
  xs: X,
  options: ScanOptions = {},
): [carry: C, ys: Y] {
  const carries = tensorsOf(init)
  const stacks = tensorsOf(xs)
  const steps = stepsOf(stacks, options.length)
  if (!onXla() || runsByKernel())
    return tf.tidy(() => eagerly(body, init, xs, steps, options.reverse ?? false) as never) as [C, Y]
  const xla = backend()
  const name = body.name || 'scan'
  const loop: Loop = { name, steps, reverse: options.reverse ?? false }
  const first = carries.map(t => xla.node(t))
  const whole = stacks.map(t => xla.node(t))
  let tree: Y
  const each = recorded(name, [...first, ...whole.map(sliceType)], inputs => {
    const [next, y] = body(
      withTensors(init, inputs.slice(0, carries.length)),
      withTensors(xs, inputs.slice(carries.length)),
    )
    tree = y
    return [...tensorsLike(init, next, `${name}: the carry`), ...tensorsOf(y)]
  })
  const { outputs, kept } = forward(loop, each, first, whole, options.remat ?? false)
  const gradient = each.vjp && {
    reads: [...whole, ...kept.values()],
    pullback: (cotangents: Node[]) => backward(loop, each, each.vjp!, whole, kept, cotangents),
  }
  const tensors = results(name, [...carries, ...stacks, ...each.closed], outputs, [each.trace], gradient)
  return [withTensors(init, tensors.slice(0, carries.length)), withTensors(tree!, tensors.slice(carries.length))]
}

function stepsOf(stacks: readonly tf.Tensor[], length: number | undefined): number {
  const lengths = new Set(stacks.map(x => x.shape[0]))
  if (length !== undefined) lengths.add(length)
  const [steps] = lengths
  if (lengths.size !== 1 || steps === undefined)
    throw new Error(
      `xla.scan: the leading axes of xs are ${[...lengths].join(', ') || 'none'}; needed one common length` +
        (stacks.length ? '.' : '. Pass { length }.'),
    )
  return steps
}

/** On a stock backend: one step after the other. */
function eagerly<C extends TensorTree, X extends TensorTree | null, Y extends TensorTree | null>(
  body: ScanBody<C, X, Y>,
  init: C,
  xs: X,
  steps: number,
  reverse: boolean,
): [carry: C, ys: Y] {
  const stacks = tensorsOf(xs)
  if (steps === 0) {
    const x = stacks.map(t => tf.zeros(t.shape.slice(1), t.dtype))
    return [init, mapTensors(body(init, withTensors(xs, x))[1], t => tf.zeros([0, ...t.shape], t.dtype))]
  }
  const ys: (Y | undefined)[] = Array.from({ length: steps })
  let carry = init
  for (let k = 0; k < steps; k++) {
    const i = reverse ? steps - 1 - k : k
    const step = () => {
      const x = stacks.map(t => tf.squeeze(tf.slice(t, [i], [1]), [0]))
      return body(carry, withTensors(xs, x)) as unknown as tf.TensorContainer
    }
    ;[carry, ys[i]] = tf.tidy(step) as unknown as [C, Y]
  }
  const columns = ys.map(y => tensorsOf(y))
  return [
    carry,
    withTensors(
      ys[0] as Y,
      columns[0]!.map((_, c) => tf.stack(columns.map(y => y[c]!))),
    ),
  ]
}

interface Loop {
  name: string
  steps: number
  reverse: boolean
}

/** A counted loop; `body` gets the step's number and the values. */
function counted(
  { name, steps, reverse }: Loop,
  init: readonly Node[],
  body: (i: Node, values: Node[]) => Node[],
): Node[] {
  if (steps === 0) return [...init]
  const [from, to, by] = reverse ? [steps - 1, 0, -1] : [0, steps - 1, 1]
  const index = (value: number) => hlo.fill(value, [], 's32')
  return whileNodes(
    name,
    [index(from), ...init],
    ([i]) => hlo.compare(reverse ? 'GE' : 'LE', i!, index(to)),
    ([i, ...values]) => [hlo.add(i!, index(by)), ...body(i!, values)],
  ).slice(1)
}

const sliceType = (x: ValueType): ValueType => ({ shape: x.shape.slice(1), type: x.type })

const emptyStack = (steps: number, x: ValueType): Node => hlo.fill(0, [steps, ...x.shape], x.type)

const startsAt = (x: Node, i: Node): Node[] => x.shape.map((_, axis) => (axis === 0 ? i : hlo.fill(0, [], 's32')))

function sliceAt(x: Node, i: Node): Node {
  return hlo.reshape(hlo.dynamicSlice(x, startsAt(x, i), [1, ...x.shape.slice(1)]), x.shape.slice(1))
}

function updateAt(stack: Node, value: Node, i: Node): Node {
  return hlo.dynamicUpdateSlice(stack, hlo.reshape(value, [1, ...value.shape]), startsAt(stack, i))
}

/** Runs the loop, and stacks what its gradient needs of each step. */
function forward(
  loop: Loop,
  step: Recorded,
  init: Node[],
  xs: Node[],
  remat: boolean,
): { outputs: Node[]; kept: Map<Node, Node> } {
  const keep = step.vjp ? residuals(step, step.vjp, init.length, remat) : []
  const roots = [...step.outputs, ...keep]
  const stacks = roots.slice(init.length).map(v => emptyStack(loop.steps, v))
  const last = counted(loop, [...init, ...stacks], (i, values) => {
    const inputs = [...values.slice(0, init.length), ...xs.map(x => sliceAt(x, i))]
    const next = layOut(step, roots, step.inputs, inputs)
    return next.map((v, k) => (k < init.length ? v : updateAt(values[k]!, v, i)))
  })
  const outputs = last.slice(0, step.outputs.length)
  return { outputs, kept: new Map(keep.map((node, k) => [node, last[outputs.length + k]!])) }
}

/** Walks the steps back: from the cotangents of the last carry and of ys to the gradients of the first carry, of xs and of
 * what is closed over; null for what is no float. */
function backward(
  loop: Loop,
  step: Recorded,
  { cotangents, gradients }: VectorJacobianProduct,
  xs: Node[],
  kept: ReadonlyMap<Node, Node>,
  given: Node[],
): (Node | null)[] {
  const carries = step.inputs.length - xs.length
  const floats = gradients.flatMap((gradient, i) => (gradient ? [{ gradient, i }] : []))
  const slot = new Map(floats.map(({ i }, k) => [i, k]))
  const init = floats.map(({ gradient, i }) => {
    if (i < carries) return given[i]!
    return i < step.inputs.length ? emptyStack(loop.steps, gradient) : hlo.like(gradient, 0)
  })
  const last = counted({ ...loop, reverse: !loop.reverse }, init, (at, values) => {
    const slices = [...xs, ...kept.values()].map(stack => sliceAt(stack, at))
    const here = cotangents.map((c, i) => c && (i < carries ? values[slot.get(i)!]! : sliceAt(given[i]!, at)))
    const parameters = [...step.inputs.slice(carries), ...kept.keys(), ...cotangents]
    const roots = floats.map(f => f.gradient)
    return layOut(step, roots, parameters, [...slices, ...here]).map((g, k) => {
      const { i } = floats[k]!
      if (i < carries) return g
      return i < step.inputs.length ? updateAt(values[k]!, g, at) : hlo.add(values[k]!, g)
    })
  })
  return gradients.map((_, i) => last[slot.get(i) ?? -1] ?? null)
}

/** The step's values to keep for its gradient: of those that the gradient reads, the ones that are not cheap to compute from
 * others that are at hand. With rematerialisation: its carry. */
function residuals(
  { trace, inputs }: Recorded,
  { cotangents, gradients }: VectorJacobianProduct,
  carries: number,
  remat: boolean,
): Node[] {
  const roots = gradients.filter(n => n !== null)
  const backwards = new Set(cotangents.filter(n => n !== null))
  const order: Node[] = [] // operands first
  ancestors(
    roots,
    node => node.trace !== trace,
    node => {
      if (node.operands.some(o => backwards.has(o))) backwards.add(node)
      order.push(node)
    },
  )
  if (remat) return inputs.slice(0, carries).filter(p => order.includes(p))
  const read = new Set<Node>()
  const reads = (node: Node): void => {
    const [operand] = node.operands
    if (RESHAPING.has(node.op) && operand && bytes(operand) <= bytes(node)) reads(operand)
    else read.add(node)
  }
  for (const node of order) if (backwards.has(node)) node.operands.filter(o => !backwards.has(o)).forEach(reads)
  roots.filter(r => !backwards.has(r)).forEach(reads)
  const atHand = new Set(inputs.slice(carries))
  const kept: Node[] = []
  for (const node of order) {
    if (backwards.has(node) || atHand.has(node)) continue
    const cheap = node.literal || RESHAPING.has(node.op) || ELEMENTWISE.has(node.op)
    if (cheap && node.operands.every(o => o.trace !== trace || atHand.has(o))) atHand.add(node)
    else if (read.has(node)) {
      atHand.add(node)
      kept.push(node)
    }
  }
  return kept
}

const bytes = ({ shape, type }: ValueType): number => bytesOf(shape, type)
const operations = (names: string): Set<string> => new Set(names.split(' ').map(name => `stablehlo.${name}`))
const RESHAPING = operations('broadcast_in_dim reshape convert')
/** Without the bitwise operations that random numbers are made of: those would take many. */
const ELEMENTWISE = operations(
  'abs add and compare cosine divide exponential exponential_minus_one floor log log_plus_one logistic maximum minimum ' +
    'multiply negate not or power rsqrt select sign sine sqrt subtract tanh',
).add('chlo.erf')
