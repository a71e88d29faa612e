import type { DeviceBuffer } from './pjrt/client.js'
import type { Sharding } from './sharding.js'
import type { ElementType } from './types.js'

/** A span of recording whose nodes belong to one compiled function or loop body. Nodes made outside any are lazy. */
export class Trace {
  /** Called with each tensor of an enclosing trace that a kernel of this one reads. */
  onOuterTensor: ((tensor: object) => void) | undefined
  private readonly kept = new Set<Node>()

  constructor(
    readonly name: string,
    readonly parent: Trace | null = Trace.current,
  ) {}

  static current: Trace | null = null

  /** Runs `record` with this trace as the current one. */
  run<T>(record: () => T): T {
    const outer = Trace.current
    Trace.current = this
    try {
      return record()
    } finally {
      Trace.current = outer
    }
  }

  /** Keeps the values of a lazy node that a node of this trace reads, until {@link close}. */
  keep(node: Node): void {
    if (this.kept.has(node)) return
    this.kept.add(node)
    node.retain()
  }

  /** What was recorded is built into a program or a loop, which holds what it reads itself. */
  close(): void {
    for (const node of this.kept) node.release()
    this.kept.clear()
  }

  /** Whether nodes of `other` may be read here: it is this trace, encloses it, or is the lazy graph. */
  sees(other: Trace | null): boolean {
    if (other === null) return true
    for (let t: Trace | null = this; t; t = t.parent) if (t === other) return true // eslint-disable-line @typescript-eslint/no-this-alias
    return false
  }
}

export interface ValueType {
  shape: readonly number[]
  type: ElementType
}

/** Code inside an operation: a loop's condition and body, a comparator. Its block arguments are `parameters`. */
export interface Region {
  parameters: readonly Node[]
  results: readonly Node[]
}

/** One StableHLO operation and its value, immutable. Its shape and type are known at once; its values exist on the device
 * (`buffer`), on the host (`host`), or not yet (pending).
 *
 * Lazy nodes are counted: tensors, compiled functions and held nodes that read a node hold it. A node takes hold of its
 * operands when it is first held itself (what nobody asks for holds nothing); when the last holder lets go, its memory is
 * returned and it lets go of them, until it is held again. Nodes of a trace have no memory and hold nothing. */
export class Node implements ValueType {
  readonly trace = Trace.current
  operands: readonly Node[]
  /** Made of nothing but numbers written in the program: in arithmetic it takes the other operand's float type. */
  weak: boolean
  buffer: DeviceBuffer | null = null
  /** Values not uploaded yet, in device layout. */
  host: Uint8Array | null = null
  /** In {@link livePending}. */
  place = -1
  private tensors = 0
  private holders = 0

  constructor(
    readonly op: string,
    operands: readonly Node[],
    readonly attributes: string,
    readonly shape: readonly number[],
    readonly type: ElementType,
    readonly regions: readonly (Region | string)[] = NONE,
    /** Result types of an operation with several values; these are `result` nodes. */
    readonly results: readonly ValueType[] | null = null,
    readonly index = 0,
  ) {
    this.operands = operands
    this.weak = operands.length > 0 && operands.every(operand => operand.weak)
    for (const operand of operands) {
      if (operand.trace === this.trace || operand.literal) continue
      if (operand.trace === null) this.trace!.keep(operand)
      else if (this.trace === null)
        throw new Error(
          `xla: a tensor made inside "${operand.trace.name}" is used outside of it, where it has no value. Return it from there.`,
        )
    }
  }

  get pending(): boolean {
    return this.buffer === null && this.host === null
  }

  /** Where the values lie; null: on one device, or nowhere yet. */
  get sharding(): Sharding | null {
    return this.buffer?.sharding ?? null
  }

  /** Nothing to compute: written into each program that uses it. */
  get literal(): boolean {
    return this.op === 'constant' || this.op === 'iota'
  }

  retain(): void {
    const fresh: Node[] = [this]
    for (let node = fresh.pop(); node; node = fresh.pop())
      if (node.holders++ === 0 && node.trace === null && node.operands.length > 0) {
        recorded.count++
        fresh.push(...node.operands)
      }
  }

  release(): void {
    const free: Node[] = [this]
    for (let node = free.pop(); node; node = free.pop()) {
      if (--node.holders > 0) continue
      node.buffer?.destroy()
      node.buffer = node.host = null
      free.push(...node.letGo())
    }
  }

  /** A tensor holds the node: a program that computes it on the way keeps its value. */
  retainByTensor(): void {
    this.retain()
    if (this.tensors++ === 0 && this.trace === null && this.pending && !this.literal) livePending.add(this)
  }

  releaseByTensor(): void {
    if (--this.tensors === 0) livePending.delete(this)
    this.release()
  }

  /** Takes the value that a program computed. */
  materialize(buffer: DeviceBuffer): void {
    this.buffer = buffer
    livePending.delete(this)
    const held = this.holders > 0 ? this.letGo() : NONE
    this.operands = NONE
    for (const operand of held) operand.release()
  }

  get heldByTensor(): boolean {
    return this.tensors > 0
  }

  get holderCount(): number {
    return this.holders
  }

  /** The operands that the node held: it has its value, or nobody needs it any more. */
  private letGo(): readonly Node[] {
    if (this.trace !== null || this.operands.length === 0) return NONE
    recorded.count--
    return this.operands
  }
}

const NONE: readonly never[] = []

/** A set of nodes. V8's own, when it is added to and deleted from all the time, leaves a chain of outgrown tables that is kept, with
 * all that was in them, until the next full collection: the process of a training run grew by 40 KB a step. */
class NodeSet {
  private readonly nodes: Node[] = []

  add(node: Node): void {
    if (node.place >= 0) return
    node.place = this.nodes.length
    this.nodes.push(node)
  }

  delete(node: Node): void {
    if (node.place < 0) return
    const last = this.nodes.pop()!
    if (last !== node) {
      this.nodes[node.place] = last
      last.place = node.place
    }
    node.place = -1
  }

  clear(): void {
    for (const node of this) this.delete(node)
  }

  [Symbol.iterator](): Iterator<Node> {
    return [...this.nodes].values()
  }
}

/** Lazy nodes that tensors hold and that have no value yet. */
export const livePending = new NodeSet()
/** Lazy operations that wait to be computed. */
export const recorded = { count: 0 }
