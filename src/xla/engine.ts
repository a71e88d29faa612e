import { Trace, livePending, recorded } from './graph.js'
import type { Node, ValueType } from './graph.js'
import { PjrtApi } from './pjrt/api.js'
import { PjrtClient } from './pjrt/client.js'
import type { DeviceBuffer, Executable } from './pjrt/client.js'
import { ancestors, printProgram } from './print.js'
import type { Argument } from './print.js'

/** What the engine did so far: compilation and tracing are visible, never silent. */
export interface Stats {
  /** Programs compiled, and the time it took. */
  compiled: number
  compileMs: number
  /** Programs found in the cache. */
  cacheHits: number
  /** Jitted functions traced (once per signature). */
  traced: number
  traceMs: number
  executed: number
  /** Kernels that ran on the host, after reading their inputs. */
  hostKernels: number
}

const LAZY_BOUND = 4096 // waiting operations before the graph is cut unasked

/** Compiles and runs graphs on one PJRT client. There is one engine a process. */
export class Engine {
  readonly stats: Stats = {
    compiled: 0,
    compileMs: 0,
    cacheHits: 0,
    traced: 0,
    traceMs: 0,
    executed: 0,
    hostKernels: 0,
  }
  private readonly programs = new Map<string, Executable>()
  private readonly compiling = new Map<string, Promise<void>>()

  constructor(readonly client: PjrtClient) {}

  static open(plugin: string): Engine {
    return new Engine(new PjrtClient(new PjrtApi(plugin)))
  }

  /** The compiled program of a text, compiled now if it is new. */
  program(text: string): Executable {
    const known = this.programs.get(text)
    if (known) {
      this.stats.cacheHits++
      return known
    }
    const start = performance.now()
    const executable = this.client.compile(text)
    this.keep(text, executable, start)
    return executable
  }

  /** Compiles a text on another thread; afterwards {@link program} finds it. */
  prepare(text: string): Promise<void> {
    if (this.programs.has(text)) return Promise.resolve()
    let pending = this.compiling.get(text)
    if (!pending) {
      const start = performance.now()
      pending = this.client
        .compileAsync(text)
        .then(executable => this.keep(text, executable, start))
        .finally(() => this.compiling.delete(text))
      this.compiling.set(text, pending)
    }
    return pending
  }

  private keep(text: string, executable: Executable, start: number): void {
    this.programs.set(text, executable)
    this.stats.compiled++
    this.stats.compileMs += performance.now() - start
  }

  execute(executable: Executable, inputs: readonly DeviceBuffer[], outputs: readonly ValueType[]): DeviceBuffer[] {
    this.stats.executed++
    return executable.execute(inputs, outputs)
  }

  /** The node's values on the device, uploaded if they are still on the host. */
  buffer(node: Node): DeviceBuffer {
    if (node.buffer) return node.buffer
    if (node.host) {
      node.buffer = this.client.upload(node.host, node.shape, node.type)
      node.host = null
      return node.buffer
    }
    this.materialize([node])
    return node.buffer!
  }

  /** Runs what the given lazy nodes wait for, as one program. Values that tensors hold are kept on the way. */
  materialize(nodes: readonly Node[]): void {
    const cut = this.cut(nodes)
    if (!cut) return
    const executable = this.program(cut.text)
    const buffers = this.execute(
      executable,
      cut.args.map(a => this.buffer(a.node)),
      cut.outputs,
    )
    cut.outputs.forEach((node, i) => node.materialize(buffers[i]!))
  }

  /** The same, compiling on another thread. */
  async materializeAsync(nodes: readonly Node[]): Promise<void> {
    const cut = this.cut(nodes)
    if (!cut) return
    nodes.forEach(node => node.retain())
    try {
      await this.prepare(cut.text)
      this.materialize(nodes) // recorded anew: the graph may have changed meanwhile
    } finally {
      nodes.forEach(node => node.release())
    }
  }

  /** Runs everything recorded that a tensor still holds. */
  private flush(): void {
    try {
      this.materialize([...livePending])
    } catch {
      for (const node of [...livePending])
        try {
          this.materialize([node])
        } catch {
          // whoever reads the value that fails is told
        }
    }
    recorded.count = 0
  }

  /** Cuts a lazy graph that has grown past its bound. */
  limit(): void {
    if (recorded.count > LAZY_BOUND && Trace.current === null) this.flush()
  }

  private cut(nodes: readonly Node[]): { text: string; args: Argument[]; outputs: Node[] } | null {
    const roots = nodes.filter(n => n.pending)
    if (roots.length === 0) return null
    const args: Argument[] = []
    const outputs = new Set(roots)
    const severals = new Set<Node>()
    ancestors(
      roots,
      node => {
        if (node.literal || node.pending) return false
        args.push({ node })
        return true
      },
      node => {
        if (node.results) severals.add(node)
        else if (node.heldByTensor && !node.literal) outputs.add(node)
      },
    )
    // The other values of an operation that runs anyway, when a tensor waits for them.
    if (severals.size > 0)
      for (const node of livePending) if (node.op === 'result' && severals.has(node.operands[0]!)) outputs.add(node)
    const list = [...outputs]
    return { text: printProgram('lazy', args, list), args, outputs: list }
  }
}
