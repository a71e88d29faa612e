import * as tf from '@tensorflow/tfjs-core'
import { patiently } from '../interrupt.js'
import { autocast, autocastType } from './autocast.js'
import { backend, onXla } from './backend.js'
import type { XlaBackend } from './backend.js'
import { Node, Trace } from './graph.js'
import type { ValueType } from './graph.js'
import * as hlo from './hlo.js'
import { captured } from './loops.js'
import type { DeviceBuffer, Executable } from './pjrt/client.js'
import { checksNans, explainNan, haveNan, rerunning } from './nans.js'
import { printProgram, withoutDonation } from './print.js'
import { span } from './profile.js'
import type { Argument } from './print.js'
import { record, taping, withoutTape } from './record.js'
import { leavesOf, whatChanged } from './retrace.js'
import type { Leaves } from './retrace.js'
import { Mesh } from './sharding.js'
import type { Sharding } from './sharding.js'
import { disposeTree, eachTensor, isTensor, tensorsOf, withTensors } from './tree.js'

export interface JitOptions {
  /** Indices of arguments whose tensors the program consumes: their memory becomes the outputs'. */
  donate?: readonly number[]
  /** Appears in error messages and profiles. */
  name?: string
}

export interface Jitted<A extends unknown[], R> {
  /** Starts the program; the result's values may still be computed when it returns. Blocks while compiling. */
  (...args: A): R
  /** Compiles off the calling thread, and resolves when the result's values are there. */
  async(...args: A): Promise<R>
  /** The StableHLO text of the program for these arguments. */
  lower(...args: A): string
  /** Bytes the compiled program needs on the device. */
  memory(...args: A): { arguments: number; outputs: number; aliased: number; temporary: number; code: number }
}

/** Compiles a function of tensors into one program per input signature: it is traced once, and then only executed.
 *
 * Arguments and results are nested containers of tensors. Numbers, strings, booleans and null in the arguments are static:
 * they belong to the signature. Tensors and variables that `fn` closes over are hidden inputs, variables it assigns are hidden
 * outputs. Values made while tracing become constants. Reading a tensor's values inside throws.
 *
 * On a mesh the program is partitioned over its devices, as {@link import('./mesh.js').shard} describes. A result takes the sharding of
 * the donated tensor that it replaces (the first not yet taken of equal shape and type), so that a state stays where it is; other
 * results lie where the compiler leaves them, or where {@link import('./mesh.js').constrain} says.
 *
 * Inside another traced function and under a gradient, `fn` simply runs. So it does on a stock tfjs backend, where it leaves no
 * more behind than a program would. */
export function jit<A extends unknown[], R>(fn: (...args: A) => R, options: JitOptions = {}): Jitted<A, R> {
  const name = (options.name ?? fn.name).replace(/[^A-Za-z0-9_]/g, '_') || 'jitted'
  const donated = new Set(options.donate ?? [])
  const programs = new Map<string, Program>()

  const inline = () => !onXla() || Trace.current !== null || taping() || rerunning()
  const lookup = (args: A): Program => {
    const nodes = Mesh.inUse ? nodesOf(args) : []
    backend().engine.materialize(nodes) // to know where they lie
    const key = `${autocastType() ?? ''}${meshName(nodes)}${signature(args)}`
    const known = programs.get(key)
    if (known && !moved(known)) return known
    const start = performance.now()
    const program = span('trace', name, () => trace(fn, args, name, donated))
    const others = [...programs.values()].map(p => p.leaves)
    const reason = known
      ? 'a tensor that it reads lies on other devices'
      : others.length > 0
        ? whatChanged(others, program.leaves)
        : null
    backend().engine.traced(performance.now() - start, reason && `${name}: ${reason}`)
    programs.set(key, program)
    known?.hidden.forEach(h => h instanceof Node && h.release())
    return program
  }

  const plain = (args: A): R => (onXla() || taping() ? fn(...args) : eagerly(fn, args, donated))
  const jitted = (...args: A): R => (inline() ? plain(args) : (run(lookup(args), fn, args, name, donated)[0] as R))
  jitted.async = async (...args: A): Promise<R> => (inline() ? plain(args) : patiently(() => later(args)))
  const later = async (args: A): Promise<R> => {
    const { engine } = backend()
    const type = autocastType()
    if (Mesh.inUse) await engine.materializeAsync(nodesOf(args))
    const program = autocast(type, () => lookup(args))
    const inputs = inputsOf(program, args)
    inputs.forEach(node => node.retain())
    try {
      await Promise.all([prepare(program), engine.materializeAsync(inputs)])
    } finally {
      inputs.forEach(node => node.release())
    }
    const [result, buffers] = run(program, fn, args, name, donated, true)
    await buffers[0]?.ready()
    return result as R
  }
  jitted.lower = (...args: A): string => lookup(args).text
  jitted.memory = (...args: A) => executableOf(lookup(args)).memory()
  return jitted
}

/** Runs `fn`, then lets go of what it made on the way and of what it was given for good. */
function eagerly<A extends unknown[], R>(fn: (...args: A) => R, args: A, donated: ReadonlySet<number>): R {
  const result = tf.tidy(() => fn(...args) as tf.TensorContainer) as R
  const kept = new Set(tensorsOf(result))
  for (const i of donated) eachTensor(args[i], t => kept.has(t) || t.dispose())
  return result
}

interface Program {
  text: string
  /** Compiled at the first call. */
  executable: Executable | null
  /** What `fn` closed over: a variable's current value, or a fixed node. */
  hidden: (tf.Variable | Node)[]
  /** The traced result: its structure, with tensors to be replaced by the outputs, in order. */
  result: unknown
  outputs: ValueType[]
  /** Variables that `fn` assigned: outputs from `resultCount` on. */
  assigned: tf.Variable[]
  resultCount: number
  /** Where the hidden inputs lay when it was traced. */
  placements: (Sharding | null)[]
  /** The signature that it was traced for. */
  leaves: Leaves
}

/** The mesh that arguments lie on. What is on one device beside them counts as whole on it: the program copies it there. */
function meshName(nodes: readonly Node[]): string {
  return nodes.find(({ sharding }) => sharding)?.sharding?.mesh.name ?? ''
}

/** Structure, shapes, element types, shardings and static values of the arguments. */
function signature(value: unknown): string {
  if (isTensor(value)) {
    const { shape, type, sharding } = backend().storage(value)
    const [stored, seen] = [shape.join(), value.shape.join()]
    return `${type}[${stored}]${seen === stored ? '' : `(${seen})`}${divided(sharding)?.text ?? ''}`
  }
  if (Array.isArray(value)) return `[${value.map(signature).join(',')}]`
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).map(([k, v]) => `${k}:${signature(v)}`)
    return `{${entries.join(',')}}`
  }
  if (typeof value === 'function') throw new Error('xla.jit: an argument is a function; close over it instead')
  return typeof value === 'string' ? JSON.stringify(value) : String(value)
}

function trace<A extends unknown[]>(fn: (...args: A) => unknown, args: A, name: string, donated: Set<number>): Program {
  const xla = backend()
  const trace = new Trace(name)
  const parameters: Argument[] = []
  return keepingVariables((variables, assignedOnes) => {
    const nodeOfVariable = new Map(variables.map(v => [xla.storage(v), v]))
    try {
      return withoutTape(() =>
        record(trace, () => {
          const inputs = args.map((arg, i) =>
            withTensors(
              arg,
              tensorsOf(arg).map(t => {
                const stored = xla.storage(t)
                const node = hlo.parameter(stored)
                parameters.push({ node, donated: donated.has(i), sharding: stored.sharding })
                return xla.tensor(hlo.reshape(node, t.shape))
              }),
            ),
          ) as A
          const result = fn(...inputs)
          if (result instanceof Promise)
            throw new Error(`xla.jit(${name}): the function is async; a traced function must not be`)
          const nodes = tensorsOf(result).map(t => xla.node(t))
          const assigned = assignedOnes()
          const outputs = [...nodes, ...assigned.map(v => xla.node(v))]
          const outside = captured(trace, outputs)
          if (Mesh.inUse) xla.engine.materialize(outside)
          const read = outside.map(node => ({ node, sharding: node.sharding }))
          const placements = read.map(({ sharding }) => divided(sharding))
          const text = printProgram(name, [...parameters, ...read], outputs, replaced(parameters, outputs))
          const hidden = outside.map(node => nodeOfVariable.get(node) ?? node)
          hidden.forEach(h => h instanceof Node && h.retain())
          const types = outputs.map(({ shape, type }) => ({ shape, type })) // without the graph behind them
          return {
            text,
            executable: null,
            hidden,
            result,
            outputs: types,
            assigned,
            resultCount: nodes.length,
            placements,
            leaves: new Map([...leavesOf(args, signature), ['autocast', autocastType() ?? 'off']]),
          }
        }),
      )
    } finally {
      trace.close()
    }
  })
}

/** Runs `f`, and points the variables that it assigns back at the values they had.
 * @param f is given all variables, and a function that tells which were assigned so far */
function keepingVariables<T>(f: (variables: readonly tf.Variable[], assigned: () => tf.Variable[]) => T): T {
  const xla = backend()
  const variables = Object.values(tf.engine().registeredVariables)
  variables.forEach(v => xla.settle(v))
  const before = variables.map(v => v.dataId)
  before.forEach(dataId => xla.incRef(dataId)) // an assignment must not free the present value
  try {
    return f(variables, () => variables.filter((v, i) => v.dataId !== before[i]))
  } finally {
    variables.forEach((v, i) => {
      if (v.dataId !== before[i]) xla.repoint(v, before[i]!)
      xla.disposeData(before[i]!)
    })
  }
}

/** While NaN is searched for, programs leave their arguments as they are. */
function executableOf(program: Program): Executable {
  const { engine } = backend()
  if (checksNans()) return engine.program(withoutDonation(program.text))
  return (program.executable ??= engine.program(program.text))
}

/** Compiles on another thread what {@link executableOf} gives. */
async function prepare(program: Program): Promise<void> {
  const { engine } = backend()
  if (checksNans()) await engine.prepare(withoutDonation(program.text))
  else program.executable ??= await engine.prepare(program.text)
}

/** The sharding of the donated argument whose place each output takes. */
function replaced(args: readonly Argument[], outputs: readonly Node[]): (Sharding | null)[] {
  const free = args.filter(arg => arg.donated)
  return outputs.map(({ shape, type }) => {
    const i = free.findIndex(({ node }) => node.type === type && node.shape.join() === shape.join())
    return i < 0 ? null : (free.splice(i, 1)[0]!.sharding ?? null)
  })
}

function nodesOf(args: unknown[]): Node[] {
  const xla = backend()
  return tensorsOf(args).map(t => xla.storage(t))
}
const hiddenNodes = ({ hidden }: Program): Node[] => hidden.map(h => (h instanceof Node ? h : backend().storage(h)))

const inputsOf = (program: Program, args: unknown[]): Node[] => [...nodesOf(args), ...hiddenNodes(program)]

const divided = (sharding: Sharding | null): Sharding | null => (sharding?.whole ? null : sharding)

/** Whether a hidden input lies elsewhere than when the program was traced: a variable was assigned. */
function moved(program: Program): boolean {
  if (!Mesh.inUse) return false
  const hidden = hiddenNodes(program)
  backend().engine.materialize(hidden)
  return hidden.some(({ sharding }, i) => divided(sharding) !== program.placements[i])
}

/** @param awaited the caller waits for the buffers: so do donated ones, whose return would block until the program has run */
function run<A extends unknown[]>(
  program: Program,
  fn: (...args: A) => unknown,
  args: A,
  name: string,
  donated: Set<number>,
  awaited = false,
): [result: unknown, buffers: readonly DeviceBuffer[]] {
  const xla = backend()
  const { engine } = xla
  const consumed = [...donated].flatMap(i => tensorsOf(args[i]))
  checkDonation(xla, consumed, args, name)
  if (moved(program))
    throw new Error(
      `xla.jit(${name}): a variable that it reads was assigned values on other devices while it compiled. Await the call first.`,
    )
  const inputs = inputsOf(program, args)
  engine.materialize(inputs)
  const buffers = engine.execute(executableOf(program), inputs, program.outputs)
  const outputs = buffers.map((buffer, i) => {
    const node = new Node('output', [], '', program.outputs[i]!.shape, program.outputs[i]!.type)
    node.buffer = buffer
    return xla.tensor(node)
  })
  if (checksNans()) refuseNan(program, outputs, name, () => fn(...args))
  for (const t of consumed) {
    if (awaited && buffers[0]) engine.buffer(xla.storage(t)).consumeBy(buffers[0].ready())
    xla.donate(t, name)
  }
  program.assigned.forEach((v, i) => {
    const value = outputs[program.resultCount + i]!
    v.assign(value)
    value.dispose()
  })
  return [withTensors(program.result, outputs), buffers]
}

/** @throws NanError that names the kernel, if a program's results have NaN */
function refuseNan(program: Program, outputs: readonly tf.Tensor[], name: string, f: () => unknown): void {
  const found = haveNan(outputs.map(t => backend().storage(t))).indexOf(true)
  if (found < 0) return
  disposeTree(outputs)
  const places: string[] = []
  eachTensor(program.result, (_, path) => places.push(path === '' ? 'its result' : `its result's ${path}`))
  const where = places[found] ?? `variable ${program.assigned[found - program.resultCount]!.name}`
  keepingVariables(() => explainNan(name, where, f))
}

function checkDonation(xla: XlaBackend, consumed: tf.Tensor[], args: unknown[], name: string): void {
  if (consumed.length === 0) return
  const [seen, again] = [new Set<object>(), new Set<object>()]
  for (const { dataId } of tensorsOf(args)) (seen.has(dataId) ? again : seen).add(dataId)
  for (const t of consumed)
    if (again.has(t.dataId) || !xla.solelyOwned(t))
      throw new Error(
        `xla.jit(${name}): a donated tensor [${t.shape.join(',')}] has other references (a clone, a reshape, a variable, another ` +
          'argument, or an operation still waiting for it). Donate a copy: xla.copy(tensor).',
      )
}
