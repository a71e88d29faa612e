import { ExecutableCache, programKey } from './cache.js'
import { Trace, livePending, recorded } from './graph.js'
import type { Node, ValueType } from './graph.js'
import { mappingsScarce } from './mappings.js'
import { PjrtApi } from './pjrt/api.js'
import { PjrtClient } from './pjrt/client.js'
import type { CreateOptions, DeviceBuffer, Executable } from './pjrt/client.js'
import { dump } from './dump.js'
import { asyncSpan, deviceSpan, span } from './profile.js'
import { ancestors, meshOf, printProgram, programName } from './print.js'
import type { Argument } from './print.js'
import type { Stats } from './stats.js'
import type { Mesh } from './sharding.js'

const RETRACES_KEPT = 100
const PROGRAMS_KEPT = 512 // in memory; small ones, as lazy graphs make them, take 0.13 MB each
const COUNTED_EACH = 16 // programs: counting mappings takes up to 40 ms
const LAZY_BOUND = 4096 // waiting operations before the graph is cut unasked

/** Compiles and runs graphs on one PJRT client. There is one engine a process. */
export class Engine {
  readonly stats: Stats
  /** By {@link programKey}. One that is dropped lives on while a jitted function holds it. */
  private readonly programs = new Map<string, { executable: Executable; used: number }>()
  private uses = 0
  private kept = 0
  private readonly compiling = new Map<string, Promise<Executable>>()

  constructor(
    readonly client: PjrtClient,
    private readonly cache: ExecutableCache | null = null,
    private readonly programsKept = PROGRAMS_KEPT,
  ) {
    this.stats = {
      compiled: 0,
      compileMs: 0,
      loaded: 0,
      loadMs: 0,
      cacheHits: 0,
      traced: 0,
      traceMs: 0,
      retraces: [],
      executed: 0,
      hostKernels: 0,
      uploads: client.uploads,
      reads: client.reads,
    }
  }

  static open(plugin: string, options: CreateOptions = {}): Engine {
    const client = new PjrtClient(new PjrtApi(plugin), options)
    return new Engine(client, ExecutableCache.open(client))
  }

  /** The compiled program of a text, compiled now if it is new. */
  program(text: string): Executable {
    const mesh = meshOf(text)
    const key = this.key(text, mesh)
    const known = this.known(key)
    if (known) return known
    const start = performance.now()
    const stored = this.cache?.read(key)
    if (stored)
      try {
        const executable = span('load', programName(text), () => this.client.load(stored, text, mesh))
        return this.loaded(key, text, executable, start)
      } catch (error) {
        this.cache!.reject(key, (error as Error).message)
      }
    const executable = span('compile', programName(text), () => this.client.compile(text, mesh))
    return this.compiled(key, text, executable, start)
  }

  /** The same on another thread. */
  prepare(text: string): Promise<Executable> {
    const mesh = meshOf(text)
    const key = this.key(text, mesh)
    const known = this.known(key)
    if (known) return Promise.resolve(known)
    let pending = this.compiling.get(key)
    if (!pending) {
      pending = this.prepareNew(key, text, mesh).finally(() => this.compiling.delete(key))
      this.compiling.set(key, pending)
    }
    return pending
  }

  /** Compiles anew what is being compiled, if it is asked for again: who waited for it may have been terminated. */
  forgetPending(): void {
    this.compiling.clear()
  }

  private async prepareNew(key: string, text: string, mesh: Mesh | null): Promise<Executable> {
    const start = performance.now()
    const stored = this.cache?.read(key)
    if (stored)
      try {
        const executable = await asyncSpan('load', programName(text), () => this.client.loadAsync(stored, text, mesh))
        return this.loaded(key, text, executable, start)
      } catch (error) {
        this.cache!.reject(key, (error as Error).message)
      }
    const executable = await asyncSpan('compile', programName(text), () => this.client.compileAsync(text, mesh))
    return this.compiled(key, text, executable, start)
  }

  private key(text: string, mesh: Mesh | null): string {
    return programKey(text, this.client.compileOptions(mesh))
  }

  /** Tells that a jitted function was traced, and if it was before, why it was again. */
  traced(ms: number, reason: string | null): void {
    this.stats.traced++
    this.stats.traceMs += ms
    if (reason === null) return
    this.stats.retraces.push(reason)
    if (this.stats.retraces.length > RETRACES_KEPT) this.stats.retraces.shift()
  }

  private loaded(key: string, text: string, executable: Executable, start: number): Executable {
    this.stats.loaded++
    this.stats.loadMs += performance.now() - start
    return this.keep(key, text, executable)
  }

  private compiled(key: string, text: string, executable: Executable, start: number): Executable {
    this.stats.compiled++
    this.stats.compileMs += performance.now() - start
    if (this.cache)
      try {
        this.cache.write(key, executable.serialize())
      } catch {
        // a program that the plugin cannot serialise
      }
    return this.keep(key, text, executable)
  }

  private known(key: string): Executable | undefined {
    const known = this.programs.get(key)
    if (!known) return undefined
    this.stats.cacheHits++
    known.used = this.uses++
    return known.executable
  }

  /** Keeps a program in place of the one that was not used for longest; of half of them, where memory mappings are scarce. */
  private keep(key: string, text: string, executable: Executable): Executable {
    dump(executable, key, text)
    this.programs.set(key, { executable, used: this.uses++ })
    const many = this.programs.size - this.programsKept
    const scarce = ++this.kept % COUNTED_EACH === 0 && mappingsScarce()
    const dropped = scarce ? this.programs.size / 2 : many
    if (dropped > 0) {
      const oldest = [...this.programs].sort(([, a], [, b]) => a.used - b.used).slice(0, dropped)
      for (const [key] of oldest) this.programs.delete(key)
    }
    return executable
  }

  execute(executable: Executable, inputs: readonly Node[], outputs: readonly ValueType[]): DeviceBuffer[] {
    this.stats.executed++
    const buffers = inputs.map(node => this.buffer(node, executable.mesh))
    const results = span('execute', executable.name, () => executable.execute(buffers, outputs))
    const [first] = results
    if (first) deviceSpan(executable.name, () => first.ready())
    return results
  }

  /** The node's values on the device, uploaded if they are still on the host.
   * @param mesh where the values shall be: those that are not divided over it are moved, whole, to each of its devices */
  buffer(node: Node, mesh: Mesh | null = null): DeviceBuffer {
    if (node.pending) this.materialize([node])
    const { shape, type, buffer } = node
    if (buffer && (mesh === null || buffer.sharding?.mesh === mesh)) return buffer
    const values = node.host ?? buffer!.read()
    const upload = () => this.client.upload(values, shape, type, mesh && mesh.whole(shape.length))
    node.buffer = span('upload', describe(node), upload, { bytes: values.length })
    node.host = null
    buffer?.destroy()
    return node.buffer
  }

  /** The node's values on the host. Waits for the programs that compute them. */
  read(node: Node): Uint8Array {
    const buffer = this.buffer(node)
    return span('read', describe(node), () => buffer.read())
  }

  /** The same without blocking the event loop. */
  async readAsync(node: Node): Promise<Uint8Array> {
    await this.materializeAsync([node])
    const buffer = this.buffer(node)
    return asyncSpan('read', describe(node), () => buffer.readAsync())
  }

  /** Runs what the given lazy nodes wait for, as one program. Values that tensors hold are kept on the way. */
  materialize(nodes: readonly Node[]): void {
    const cut = this.cut(nodes)
    if (!cut) return
    const inputs = cut.args.map(a => a.node)
    const buffers = this.execute(this.program(cut.text), inputs, cut.outputs)
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

  /** Runs everything recorded that a tensor still holds. Where one program for all cannot be, because a value fails or they live on
   * different meshes, each value gets its own.
   * @throws what the first of them that fails by itself fails with */
  async finish(): Promise<void> {
    try {
      return await this.materializeAsync([...livePending])
    } catch {
      const alone = await Promise.allSettled([...livePending].map(node => this.materializeAsync([node])))
      for (const result of alone) if (result.status === 'rejected') throw result.reason as Error
    }
  }

  private flush(): void {
    try {
      this.materialize([...livePending])
    } catch {
      for (const node of [...livePending])
        try {
          this.materialize([node])
        } catch {
          // as in finish
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
        args.push({ node, sharding: node.sharding })
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

const describe = ({ type, shape }: ValueType): string => `${type}[${shape.join(',')}]`
