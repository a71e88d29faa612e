import * as tf from '@tensorflow/tfjs-core'
import type { BackendValues, DataType, TensorInfo } from '@tensorflow/tfjs-core'
import type { Engine } from './engine.js'
import { Node, Trace, livePending } from './graph.js'
import * as hlo from './hlo.js'
import { fromDevice, toDevice } from './layout.js'
import { ELEMENT, elementType, sizeOf } from './types.js'
import type { ElementType } from './types.js'

export const BACKEND = 'xla'

/** Values made while tracing up to this size are written into the program; larger ones become hidden inputs. */
const LITERAL_BOUND = 256

/** What tfjs knows data by. */
interface DataId {
  /** The program that it was donated to. */
  consumedBy?: string
}

interface Entry {
  refCount: number
  node: Node | null
  /** Strings, and the parts of complex tensors, live on the host. */
  values: string[] | Uint8Array[] | null
  complex: { real: TensorInfo; imag: TensorInfo } | null
}

/** The tfjs backend: a kernel call records a node, reading runs the graph. A data id stands for a flat array of values:
 * tensors that share it may differ in shape. */
export class XlaBackend extends tf.KernelBackend {
  private readonly data: tf.DataStorage<Entry>

  constructor(readonly engine: Engine) {
    super()
    this.data = new tf.DataStorage(this, tf.engine())
  }

  // Between tensors and nodes

  /** The node of a tensor, in the tensor's shape. */
  node(info: TensorInfo): Node {
    this.noticed(info)
    return hlo.reshape(this.storage(info), info.shape)
  }

  /** The tensor's values under another shape: they share the data id. */
  shared(info: TensorInfo, shape = info.shape): TensorInfo {
    this.noticed(info)
    this.incRef(info.dataId)
    return { dataId: info.dataId, shape, dtype: info.dtype }
  }

  /** Tells the traces that a tensor from outside is read. */
  private noticed(info: TensorInfo): void {
    if (!Trace.current || !(info instanceof tf.Tensor)) return
    const home = this.entry(info.dataId).node?.trace
    for (let t: Trace | null = Trace.current; t && t !== home; t = t.parent) t.onOuterTensor?.(info)
  }

  /** A new data id for a node. */
  info(node: Node): TensorInfo {
    const dataId = {}
    node.retainByTensor()
    this.data.set(dataId, { refCount: 1, node, values: null, complex: null })
    this.engine.limit()
    return { dataId, shape: [...node.shape], dtype: ELEMENT[node.type].dtype }
  }

  tensor(node: Node): tf.Tensor {
    const { dataId, shape, dtype } = this.info(node)
    return tf.engine().makeTensorFromDataId(dataId, shape, dtype)
  }

  /** The node that stores a tensor's values, whose shape may differ from the tensor's. */
  storage(info: TensorInfo): Node {
    const { node } = this.entry(info.dataId)
    if (!node) throw new Error(`xla: a ${info.dtype} tensor does not live on the device`)
    return node
  }

  /** Whether nothing but this tensor holds its values, and their memory is its own. */
  solelyOwned(tensor: tf.Tensor): boolean {
    const { refCount, node } = this.entry(tensor.dataId)
    return refCount === 1 && node?.holderCount === 1 && !node.buffer?.isView
  }

  /** The slices of a tensor along its first axis as views of its memory; null where there can be none. */
  async views(tensor: tf.Tensor): Promise<tf.Tensor[] | null> {
    const node = this.storage(tensor)
    if (node.trace !== null || node.shape[0] !== tensor.shape[0] || node.shape.length !== tensor.rank) return null
    await this.engine.materializeAsync([node])
    const buffer = this.engine.buffer(node)
    await buffer.ready()
    return (
      buffer.views()?.map(view => {
        const part = new Node('view', [node], '', view.shape, view.type) // which holds the whole
        part.buffer = view
        return this.tensor(part)
      }) ?? null
    )
  }

  /** Gives a variable whose value is a literal a place in memory, so that programs read it as an input. */
  settle(variable: tf.Variable): void {
    const entry = this.entry(variable.dataId)
    if (!entry.node?.literal) return
    const [node] = hlo.barrier([entry.node]) as [Node]
    node.retainByTensor()
    entry.node.releaseByTensor()
    entry.node = node
  }

  /** Points a variable at another data id, undoing an assignment. */
  repoint(variable: tf.Variable, dataId: object): void {
    tf.engine().disposeTensor(variable)
    variable.dataId = dataId
    tf.engine().incRef(variable, null as never)
  }

  /** Marks a tensor's memory as consumed by a program, and disposes the tensor. */
  donate(tensor: tf.Tensor, program: string): void {
    ;(tensor.dataId as DataId).consumedBy = program
    tensor.dispose()
  }

  private entry(dataId: object): Entry {
    if (this.data.has(dataId)) return this.data.get(dataId)
    const program = (dataId as DataId).consumedBy
    if (program) throw donated(program)
    if (tf.engine().state.tensorInfo.has(dataId)) return this.data.get(dataId) // moves it here from another backend
    throw new Error('xla: this tensor is disposed')
  }

  // What tfjs asks of a backend

  override write(values: BackendValues, shape: number[], dtype: DataType): object {
    const dataId = {}
    this.hold(dataId, values, shape, dtype, 1)
    return dataId
  }

  /** Values of another backend's tensor, which outlives the trace that asks for them. */
  override move(dataId: object, values: BackendValues, shape: number[], dtype: DataType, refCount: number): void {
    const outer = Trace.current
    Trace.current = null
    try {
      this.hold(dataId, values, shape, dtype, refCount)
    } finally {
      Trace.current = outer
    }
  }

  private hold(dataId: object, values: BackendValues, shape: number[], dtype: DataType, refCount: number): void {
    if (dtype === 'string' || dtype === 'complex64' || values === null) {
      this.data.set(dataId, { refCount, node: null, values: values as unknown as string[] | null, complex: null })
      return
    }
    const node = hostNode(values as ArrayLike<number>, shape, elementType(dtype))
    node.weak = shape.length === 0 && insideOperation()
    node.retainByTensor()
    this.data.set(dataId, { refCount, node, values: null, complex: null })
  }

  /** A tensor of a type tfjs has no name for, from bytes in device layout. */
  upload(bytes: Uint8Array, shape: readonly number[], type: ElementType): tf.Tensor {
    return this.tensor(uploaded(bytes, shape, type))
  }

  override async read(dataId: object): Promise<BackendValues> {
    const entry = this.entry(dataId)
    if (!entry.node) return this.hostValues(entry)
    const node = this.readable(entry.node)
    if (node.host) return fromDevice(node.host.slice(), node.type)
    node.retain()
    try {
      return fromDevice(await this.engine.readAsync(node), node.type)
    } finally {
      node.release()
    }
  }

  override readSync(dataId: object): BackendValues {
    const entry = this.entry(dataId)
    if (!entry.node) return this.hostValues(entry)
    const node = this.readable(entry.node)
    if (node.host) return fromDevice(node.host.slice(), node.type)
    return fromDevice(this.engine.read(node), node.type)
  }

  private hostValues(entry: Entry): BackendValues {
    if (entry.complex) {
      const { real, imag } = entry.complex
      const parts = [real, imag].map(p => this.readSync(p.dataId) as Float32Array)
      return tf.backend_util.mergeRealAndImagArrays(parts[0]!, parts[1]!)
    }
    return entry.values as BackendValues
  }

  /** The values of a tensor for a kernel that runs on the host. */
  valuesFor(kernelName: string, { dataId }: TensorInfo): BackendValues {
    const trace = this.entry(dataId).node?.trace
    if (trace)
      throw new Error(
        `xla: ${kernelName} needs the values of its inputs, which do not exist while "${trace.name}" is only being traced. ` +
          'Run it outside, and pass its result in.',
      )
    return this.readSync(dataId)
  }

  private readable(node: Node): Node {
    if (node.trace !== null)
      throw new Error(
        `xla: reading a tensor's values inside "${node.trace.name}", which is only being traced. ` +
          'Return the tensor and read it outside, or use xla.cond and xla.whileLoop.',
      )
    return node
  }

  complex(real: TensorInfo, imag: TensorInfo): TensorInfo {
    const dataId = {}
    this.incRef(real.dataId)
    this.incRef(imag.dataId)
    this.data.set(dataId, { refCount: 1, node: null, values: null, complex: { real, imag } })
    return { dataId, shape: real.shape, dtype: 'complex64' }
  }

  complexParts(info: TensorInfo): { real: TensorInfo; imag: TensorInfo } {
    const { complex } = this.entry(info.dataId)
    if (!complex) throw new Error('xla: not a complex tensor')
    return complex
  }

  override disposeData(dataId: object, force = false): boolean {
    if (!this.data.has(dataId)) return true
    const entry = this.data.get(dataId)
    entry.refCount--
    if (!force && entry.refCount > 0) return false
    entry.node?.releaseByTensor()
    if (entry.complex) {
      this.disposeData(entry.complex.real.dataId)
      this.disposeData(entry.complex.imag.dataId)
    }
    this.data.delete(dataId)
    return true
  }

  override incRef(dataId: object): void {
    this.entry(dataId).refCount++
  }

  override refCount(dataId: object): number {
    return this.data.has(dataId) ? this.data.get(dataId).refCount : 0
  }

  override numDataIds(): number {
    return this.data.numDataIds()
  }

  override memory(): { unreliable: boolean; reasons: string[]; numBytesInGPU: number } {
    return { unreliable: false, reasons: [], numBytesInGPU: this.engine.client.liveBytes }
  }

  override floatPrecision(): 32 {
    return 32
  }

  override epsilon(): number {
    return super.epsilon()
  }

  override timerAvailable(): boolean {
    return true
  }

  override async time(f: () => void): Promise<{ kernelMs: number }> {
    const start = performance.now()
    f()
    await Promise.all([...livePending].map(n => this.engine.materializeAsync([n])))
    return { kernelMs: performance.now() - start }
  }

  /** Device memory outlives the backend object: the PJRT client is one a process. */
  override dispose(): void {
    livePending.clear()
  }
}

/** Whether tfjs runs an operation of its own, such as mul; at level 2, whether one that it called from another. A scalar
 * that arrives inside was a number; what a program makes itself, such as tf.scalar(2), arrives outside. */
export const insideOperation = (level = 1): boolean =>
  tf.engine().state.scopeStack.at(-level)?.name.endsWith('__op') ?? false

const donated = (program: string) =>
  new Error(`xla: this tensor was donated to "${program}", which has consumed its memory. Use the program's result.`)

/** tfjs says only that a tensor is disposed. */
const { throwIfDisposed } = tf.Tensor.prototype
tf.Tensor.prototype.throwIfDisposed = function (this: tf.Tensor): void {
  const program = this.isDisposed && (this.dataId as DataId).consumedBy
  if (program) throw donated(program)
  throwIfDisposed.call(this)
}

/** Uploaded values are inputs of the programs that use them, so that a changing number does not compile again;
 * small ones made while tracing are literals, which XLA folds. */
export function hostNode(values: ArrayLike<number>, shape: readonly number[], type: ElementType): Node {
  const first = values[0]
  // tf.zeros and tf.ones arrive as arrays. Other uniform values may change from call to call.
  if (first !== undefined && (Trace.current || first === 0 || first === 1) && uniform(values, first)) {
    const node = hlo.fill(first, shape, type)
    if (!Trace.current && values.length <= LITERAL_BOUND) node.host = toDevice(values, type) // read without a program
    return node
  }
  if (Trace.current && values.length <= LITERAL_BOUND) return hlo.constant(values, shape, type)
  return uploaded(toDevice(values, type), shape, type)
}

function uniform(values: ArrayLike<number>, first: number): boolean {
  for (let i = 1; i < values.length; i++) if (!Object.is(values[i], first)) return false
  return true
}

function uploaded(bytes: Uint8Array, shape: readonly number[], type: ElementType): Node {
  if (bytes.length !== sizeOf(shape) * ELEMENT[type].bytes)
    throw new Error(
      `xla: ${bytes.length} bytes for ${type}[${shape.join(',')}], needed ${sizeOf(shape) * ELEMENT[type].bytes}`,
    )
  const outer = Trace.current
  Trace.current = null // values outlive the trace they were made in
  const node = new Node('input', [], '', shape, type)
  Trace.current = outer
  outer?.keep(node)
  node.host = bytes
  return node
}

/** The backend in use. @throws if tfjs runs on another */
export function backend(): XlaBackend {
  const current = tf.backend()
  if (current instanceof XlaBackend) return current
  throw new Error(`xla: the active tfjs backend is "${tf.getBackend()}", not "${BACKEND}"`)
}

/** Whether tfjs runs on this engine; otherwise control flow runs eagerly on the stock backend. */
export const onXla = (): boolean => tf.getBackend() === BACKEND
