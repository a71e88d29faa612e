import * as tf from '@tensorflow/tfjs-core'
import { backend } from './backend.js'
import type { XlaBackend } from './backend.js'
import { Trace } from './graph.js'
import type { Node, ValueType } from './graph.js'
import * as hlo from './hlo.js'
import { listed } from './kernels/engine.js'
import { rawKernel } from './kernels/register.js'
import { substitute, whileNodes } from './loops.js'
import { ancestors } from './print.js'
import { record, taping, withoutTape } from './record.js'
import { tensorsOf, withTensors } from './tree.js'
import type { TensorTree } from './tree.js'
import { bytesOf, isFloat } from './types.js'

export interface ScanOptions {
  /** Steps; needed when xs has no tensors. */
  length?: number
  /** Runs from the last slice to the first. */
  reverse?: boolean
  /** Gradient checkpointing: the backward pass keeps only each step's carry and computes the rest of the step anew. */
  remat?: boolean
}

export type ScanBody<C, X, Y> = (carry: C, x: X) => [carry: C, y: Y]

/** One scan: what its kernel and its gradient need. */
interface Plan {
  name: string
  steps: number
  reverse: boolean
  remat: boolean
  differentiate: boolean
  /** The body from tensors (carry, x) to tensors (carry, y), in the order of their trees. */
  body: (carry: tf.Tensor[], x: tf.Tensor[]) => { carry: tf.Tensor[]; y: tf.Tensor[] }
  carries: number
  slices: number
  /** Tensors that the body closes over. */
  closed: tf.Tensor[]
  backward?: Backward
}

/** The recorded vector-Jacobian product of the body, and what the forward loop kept for it. */
interface Backward {
  trace: Trace
  /** Nodes of the recorded step, and the stacks [steps, …] that hold their values. */
  kept: { node: Node; stack: Node }[]
  xParameters: Node[]
  /** Cotangents of the step's results; null where a result is no float. */
  dCarry: (Node | null)[]
  dY: (Node | null)[]
  /** Gradients with regard to carry, x and closed-over tensors; null for what is no float. */
  gradients: (Node | null)[]
}

const SCAN = 'XlaScan'

/** Runs a scan on this backend as one differentiable tfjs kernel. */
export function scanKernel<C extends TensorTree, X extends TensorTree, Y extends TensorTree>(
  body: ScanBody<C, X, Y>,
  init: C,
  xs: X,
  options: ScanOptions,
): [C, Y] {
  const xla = backend()
  const carries = tensorsOf(init)
  const slices = tensorsOf(xs)
  const steps = stepsOf(slices, options.length)
  let yTree: unknown
  const plan: Plan = {
    name: body.name || 'scan',
    steps,
    reverse: options.reverse ?? false,
    remat: options.remat ?? false,
    differentiate: taping(),
    carries: carries.length,
    slices: slices.length,
    closed: [],
    body: (carry, x) => {
      const [next, y] = body(withTensors(init, carry), withTensors(xs, x))
      yTree = y
      return { carry: tensorsOf(next), y: tensorsOf(y) }
    },
  }
  plan.closed = closedOver(xla, plan, carries, slices)
  const inputs = [...carries, ...slices, ...plan.closed]
  const results = tf
    .engine()
    .runKernel(SCAN, listed(inputs), plan as unknown as tf.NamedAttrMap) as unknown as tf.Tensor[]
  return [withTensors(init, results.slice(0, carries.length)), withTensors(yTree as Y, results.slice(carries.length))]
}

export function stepsOf(slices: readonly tf.Tensor[], length: number | undefined): number {
  const lengths = new Set(slices.map(x => x.shape[0]))
  if (length !== undefined) lengths.add(length)
  const [steps] = lengths
  if (lengths.size !== 1 || steps === undefined)
    throw new Error(
      `xla.scan: the leading axes of xs are ${[...lengths].join(', ') || 'none'}; needed one common length` +
        (slices.length ? '.' : '. Pass { length }.'),
    )
  return steps
}

const sliceType = (x: ValueType): ValueType => ({ shape: x.shape.slice(1), type: x.type })

/** Records the body once to see which tensors it reads from outside. */
function closedOver(xla: XlaBackend, plan: Plan, carries: tf.Tensor[], slices: tf.Tensor[]): tf.Tensor[] {
  const trace = new Trace(plan.name)
  const found = new Map<number, tf.Tensor>()
  trace.onOuterTensor = tensor => found.set((tensor as tf.Tensor).id, tensor as tf.Tensor)
  withoutTape(() =>
    record(trace, () => {
      const carry = carries.map(t => xla.tensor(hlo.parameter(xla.node(t))))
      const x = slices.map(t => xla.tensor(hlo.parameter(sliceType(xla.node(t)))))
      plan.body(carry, x)
    }),
  )
  trace.close()
  // A gradient taken inside saves clones of outer tensors, which are gone by now; the originals are here too.
  return [...found.values()].filter(t => !t.isDisposed)
}

rawKernel(SCAN, (xla, inputs, attrs) => {
  const plan = attrs as unknown as Plan
  const all = Object.values(inputs).map(t => xla.node(t))
  const carry = all.slice(0, plan.carries)
  const xs = all.slice(plan.carries, plan.carries + plan.slices)
  return forward(xla, plan, carry, xs).map(node => xla.info(node))
})

/** Runs the loop. When a gradient will be asked for, its vector-Jacobian product is recorded beside the step, and what that
 * needs of the step is stacked. */
function forward(xla: XlaBackend, plan: Plan, init: Node[], xs: Node[]): Node[] {
  const trace = new Trace(plan.name)
  const parameters = trace.run(() => ({ carry: init.map(hlo.parameter), x: xs.map(x => hlo.parameter(sliceType(x))) }))
  const step = plan.differentiate
    ? recordWithGradient(xla, plan, trace, parameters)
    : { ...recordStep(xla, plan, trace, parameters), backward: null }
  const { carry, y, backward } = step
  const keep = backward?.needed ?? []
  const stacks = [...y, ...keep].map(v => hlo.fill(0, [plan.steps, ...v.shape], v.type))
  const state = [hlo.fill(plan.reverse ? plan.steps - 1 : 0, [], 's32'), ...init, ...stacks]
  const results = loop(plan, state, plan.reverse, (i, values) => {
    const map = new Map<Node, Node>()
    parameters.carry.forEach((p, k) => map.set(p, values[k]!))
    parameters.x.forEach((p, k) => map.set(p, sliceAt(xs[k]!, i)))
    const outputs = substitute([...carry, ...y, ...keep], map, trace)
    const next = outputs.slice(0, carry.length)
    return [...next, ...outputs.slice(carry.length).map((v, k) => updateAt(values[carry.length + k]!, v, i))]
  })
  if (backward) {
    const kept = keep.map((node, k) => ({ node, stack: results[carry.length + y.length + k]! }))
    kept.forEach(({ stack }) => stack.retain()) // the gradient reads them, whatever is disposed before
    plan.backward = { trace, kept, xParameters: parameters.x, ...backward }
  } else trace.close()
  return results.slice(0, carry.length + y.length)
}

/** A counted loop over `state` = [index, …values]; returns the values. */
function loop(plan: Plan, state: Node[], reverse: boolean, body: (i: Node, values: Node[]) => Node[]): Node[] {
  if (plan.steps === 0) return state.slice(1)
  return whileNodes(
    plan.name,
    state,
    ([i]) =>
      reverse ? hlo.compare('GE', i!, hlo.fill(0, [], 's32')) : hlo.compare('LT', i!, hlo.fill(plan.steps, [], 's32')),
    ([i, ...values]) => [hlo.add(i!, hlo.fill(reverse ? -1 : 1, [], 's32')), ...body(i!, values)],
  ).slice(1)
}

function startsAt(x: Node, i: Node): Node[] {
  return x.shape.map((_, axis) => (axis === 0 ? i : hlo.fill(0, [], 's32')))
}

function sliceAt(x: Node, i: Node): Node {
  return hlo.reshape(hlo.dynamicSlice(x, startsAt(x, i), [1, ...x.shape.slice(1)]), x.shape.slice(1))
}

function updateAt(stack: Node, value: Node, i: Node): Node {
  return hlo.dynamicUpdateSlice(stack, hlo.reshape(value, [1, ...value.shape]), startsAt(stack, i))
}

interface Parameters {
  carry: Node[]
  x: Node[]
}

function recordStep(xla: XlaBackend, plan: Plan, trace: Trace, { carry, x }: Parameters): { carry: Node[]; y: Node[] } {
  return withoutTape(() =>
    record(trace, () => {
      const out = plan.body(
        carry.map(n => xla.tensor(n)),
        x.map(n => xla.tensor(n)),
      )
      return { carry: out.carry.map(t => xla.node(t)), y: out.y.map(t => xla.node(t)) }
    }),
  )
}

/** Records the step and the gradient of ⟨results, cotangents⟩ with regard to carry, x and closed-over tensors. */
function recordWithGradient(xla: XlaBackend, plan: Plan, trace: Trace, parameters: Parameters) {
  return withoutTape(() =>
    record(trace, () => {
      const carry = parameters.carry.map(n => xla.tensor(n))
      const x = parameters.x.map(n => xla.tensor(n))
      const sources = [...carry, ...x, ...plan.closed]
      const outputs: { carry: Node[]; y: Node[]; dCarry: (Node | null)[]; dY: (Node | null)[] } = {
        carry: [],
        y: [],
        dCarry: [],
        dY: [],
      }
      const { grads } = tf.engine().gradients(
        () => {
          const out = plan.body(carry, x)
          const [carryTerms, yTerms] = [out.carry, out.y].map(list => list.map(t => weighed(xla, t)))
          outputs.carry = out.carry.map(t => xla.node(t))
          outputs.y = out.y.map(t => xla.node(t))
          outputs.dCarry = carryTerms!.map(t => t?.cotangent ?? null)
          outputs.dY = yTerms!.map(t => t?.cotangent ?? null)
          const terms = [...carryTerms!, ...yTerms!].flatMap(t => (t ? [t.product] : []))
          return terms.length ? terms.reduce((a, b) => tf.add(a, b)) : tf.scalar(0)
        },
        sources.filter(t => t.dtype === 'float32'),
        undefined,
        true,
      )
      let next = 0
      const gradients = sources.map(t => {
        if (t.dtype !== 'float32') return null
        const g = grads[next++]
        return g ? xla.node(g) : hlo.fill(0, t.shape, xla.node(t).type)
      })
      const { carry: nextCarry, y, dCarry, dY } = outputs
      const cotangents = [...dCarry, ...dY].filter(n => n !== null)
      const needed = residuals(plan, trace, gradients, cotangents, parameters)
      return { carry: nextCarry, y, backward: { dCarry, dY, gradients, needed } }
    }),
  )
}

/** ⟨t, cotangent⟩ for a fresh cotangent; null if t is no float. */
function weighed(xla: XlaBackend, t: tf.Tensor): { product: tf.Tensor; cotangent: Node } | null {
  const node = xla.node(t)
  if (!isFloat(node.type)) return null
  const cotangent = hlo.parameter(node)
  return { product: tf.sum(tf.mul(t, xla.tensor(cotangent))), cotangent }
}

/** The step's values that its gradient reads. With rematerialisation: only its carry. Else: each value on the border between
 * the step and its gradient, walking back over what is cheaper to compute than to keep. */
function residuals(
  plan: Plan,
  trace: Trace,
  gradients: readonly (Node | null)[],
  cotangents: readonly Node[],
  { carry, x }: Parameters,
): Node[] {
  const roots = gradients.filter(n => n !== null)
  const backwards = new Set(cotangents)
  const order: Node[] = []
  ancestors(
    roots,
    node => node.trace !== trace,
    node => {
      if (node.operands.some(o => backwards.has(o))) backwards.add(node)
      order.push(node)
    },
  )
  const seen = new Set(order)
  if (plan.remat) return carry.filter(p => seen.has(p))
  const kept = new Set<Node>()
  const need = (node: Node): void => {
    if (node.trace !== trace || node.literal || backwards.has(node) || x.includes(node)) return
    const [operand] = node.operands
    const cheap =
      CHEAP.has(node.op) && operand && bytesOf(operand.shape, operand.type) <= bytesOf(node.shape, node.type)
    if (cheap) need(operand)
    else kept.add(node)
  }
  for (const node of order) if (backwards.has(node)) node.operands.forEach(need)
  roots.filter(r => !backwards.has(r)).forEach(need)
  return [...kept]
}

const CHEAP = new Set(['stablehlo.broadcast_in_dim', 'stablehlo.reshape', 'stablehlo.convert'])

/** Walks the steps back, from the results' cotangents to those of carry, xs and closed-over tensors. */
function backwardPass(xla: XlaBackend, plan: Plan, dys: tf.Tensor[], inputs: tf.Tensor[]): Node[] {
  const b = plan.backward!
  const nodes = inputs.map(t => xla.node(t))
  const xs = nodes.slice(plan.carries, plan.carries + plan.slices)
  const given = dys.map(t => xla.node(t))
  const floats = (list: (Node | null)[]) => list.filter(n => n !== null)
  const dCarry = given.slice(0, plan.carries).filter((_, i) => b.dCarry[i])
  const dYs = given.slice(plan.carries).filter((_, i) => b.dY[i])
  const gCarry = b.dCarry.map((d, i) => (d ? b.gradients[i]! : null))
  const gX = b.gradients.slice(plan.carries, plan.carries + plan.slices)
  const gClosed = b.gradients.slice(plan.carries + plan.slices)
  const n = { carry: dCarry.length, x: floats(gX).length }
  const init = [
    hlo.fill(plan.reverse ? 0 : plan.steps - 1, [], 's32'),
    ...dCarry,
    ...floats(gX).map(g => hlo.fill(0, [plan.steps, ...g.shape], g.type)),
    ...floats(gClosed).map(g => hlo.fill(0, g.shape, g.type)),
  ]
  const results = loop(plan, init, !plan.reverse, (i, values) => {
    const map = new Map<Node, Node>()
    b.kept.forEach(({ node, stack }) => map.set(node, sliceAt(stack, i)))
    b.xParameters.forEach((p, k) => map.set(p, sliceAt(xs[k]!, i)))
    floats(b.dCarry).forEach((p, k) => map.set(p, values[k]!))
    floats(b.dY).forEach((p, k) => map.set(p, sliceAt(dYs[k]!, i)))
    const step = substitute([...floats(gCarry), ...floats(gX), ...floats(gClosed)], map, b.trace)
    return step.map((g, k) => {
      if (k < n.carry) return g
      if (k < n.carry + n.x) return updateAt(values[k]!, g, i)
      return hlo.add(values[k]!, g)
    })
  })
  const back = results[Symbol.iterator]()
  const of = (list: (Node | null)[], whole: (i: number) => Node) =>
    list.map((g, i) => (g ? back.next().value! : hlo.like(whole(i), 0)))
  return [
    ...of(gCarry, i => nodes[i]!),
    ...of(gX, i => xs[i]!),
    ...of(gClosed, i => nodes[plan.carries + plan.slices + i]!),
  ]
}

tf.registerGradient({
  kernelName: SCAN,
  saveAllInputs: true,
  gradFunc: (dys, saved, attrs) => {
    const plan = attrs as unknown as Plan
    const inputs = saved
    const cotangents = Array.isArray(dys) ? dys : [dys]
    // tfjs asks for some of them, each in a scope of its own; the rest goes when the backward pass ends.
    const grads = backwardPass(backend(), plan, cotangents, inputs).map(node => backend().tensor(node))
    plan.backward!.kept.forEach(({ stack }) => stack.release())
    plan.backward!.trace.close()
    return Object.fromEntries(grads.map((g, i) => [i, () => tf.clone(g)]))
  },
})
