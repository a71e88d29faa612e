/* How tensors lie on several devices: a mesh names the axes along which devices stand, a sharding says which of them divide which
 * axis of a tensor. Semantics of jax.sharding.NamedSharding; printed for Shardy, https://openxla.org/shardy. */

/** For each axis of a tensor the mesh axes that divide it, major first; null, or left out at the end: undivided. */
export type Spec = readonly (string | readonly string[] | null)[]

/** Devices in a grid with named axes, such as { data: 2, model: 2 }: the first ones that the client has, row-major.
 * Equal axes are the same mesh. */
export class Mesh {
  private static readonly known = new Map<string, Mesh>()
  /** As programs call it: `data2model2`. */
  readonly name: string
  /** Number of devices. */
  readonly size: number
  readonly #shardings = new Map<string, Sharding>()

  private constructor(readonly axes: Readonly<Record<string, number>>) {
    this.name = nameOf(axes)
    this.size = Object.values(axes).reduce((n, size) => n * size, 1)
  }

  static of(axes: Readonly<Record<string, number>>): Mesh {
    const name = nameOf(axes)
    let mesh = this.known.get(name)
    if (!mesh) this.known.set(name, (mesh = new Mesh({ ...axes })))
    return mesh
  }

  /** The mesh that a program calls by this name. */
  static named(name: string): Mesh {
    const mesh = this.known.get(name)
    if (!mesh) throw new Error(`xla: internal: no mesh ${name}`)
    return mesh
  }

  /** Whether there is any: without one, nothing lies on several devices. */
  static get inUse(): boolean {
    return this.known.size > 0
  }

  /** The sharding of tensors of a rank. @param parts for each axis the parts of mesh axes that divide it */
  sharding(parts: readonly (readonly Part[])[]): Sharding {
    const sharding = new Sharding(this, parts)
    const known = this.#shardings.get(sharding.text)
    if (known) return known
    this.#shardings.set(sharding.text, sharding)
    return sharding
  }

  /** Every device holds the whole tensor. */
  whole(rank: number): Sharding {
    return this.sharding(Array.from({ length: rank }, () => []))
  }

  /** The mesh as a program declares it. */
  get text(): string {
    return `sdy.mesh @${this.name} = <[${Object.entries(this.axes)
      .map(([axis, size]) => `"${axis}"=${size}`)
      .join(', ')}]>`
  }

  toString(): string {
    return `{ ${Object.entries(this.axes)
      .map(([axis, size]) => `${axis}: ${size}`)
      .join(', ')} }`
  }
}

const nameOf = (axes: Readonly<Record<string, number>>): string =>
  Object.entries(axes)
    .map(([axis, size]) => `${axis}${size}`)
    .join('')

/** A factor of a mesh axis: `size` steps, of which the next lies `stride` places along the axis. Nearly always the whole axis. */
export interface Part {
  axis: string
  size: number
  stride: number
}

/** Where the values of a tensor lie. Equal shardings are the same object. Made by {@link Mesh.sharding}. */
export class Sharding {
  /** As a constraint in a program. */
  readonly text: string
  /** As the place of an argument or result: Shardy propagates it after the constraints. Where both ask for the same mesh axis, as
   * weights and rows do in a fully sharded model, computation follows the constraint, and what is placed otherwise is gathered. */
  readonly placeText: string
  /** How many ways each axis is divided. */
  readonly counts: readonly number[]
  /** Whether every device holds all values. */
  readonly whole: boolean

  constructor(
    readonly mesh: Mesh,
    readonly parts: readonly (readonly Part[])[],
  ) {
    const axes = parts.map(of => `{${of.map(part => partText(mesh, part)).join(', ')}}`)
    const text = (axes: readonly string[]) => `#sdy.sharding<@${mesh.name}, [${axes.join(', ')}]>`
    this.text = text(axes)
    this.placeText = text(axes.map(axis => (axis === '{}' ? axis : `${axis}p1`)))
    this.counts = parts.map(of => of.reduce((n, part) => n * part.size, 1))
    this.whole = this.counts.every(n => n === 1)
  }

  /** Shape of what one device holds. */
  shardShape(shape: readonly number[]): number[] {
    return shape.map((d, i) => d / this.counts[i]!)
  }

  /** Which shard a device holds: its place along each axis. */
  shardOf(device: number): number[] {
    const at = coordinates(this.mesh, device)
    return this.parts.map(of =>
      of.reduce((place, { axis, size, stride }) => place * size + (Math.floor(at[axis]! / stride) % size), 0),
    )
  }

  /** What each device holds of an array; devices with the same shard share the bytes. @param bytes row-major */
  split(bytes: Uint8Array, shape: readonly number[]): Uint8Array[] {
    if (this.whole || bytes.length === 0) return Array.from({ length: this.mesh.size }, () => bytes)
    const shards = new Map<string, Uint8Array>()
    return Array.from({ length: this.mesh.size }, (_, device) => {
      const at = this.shardOf(device)
      let shard = shards.get(at.join())
      if (!shard) {
        shard = new Uint8Array(bytes.length / this.counts.reduce((a, b) => a * b, 1))
        for (const { whole, part, length } of this.runs(at, shape, bytes.length))
          shard.set(bytes.subarray(whole, whole + length), part)
        shards.set(at.join(), shard)
      }
      return shard
    })
  }

  /** The devices that together hold every value once. */
  get holders(): number[] {
    const seen = new Set<string>()
    const fresh = (at: string) => !seen.has(at) && seen.add(at)
    return Array.from({ length: this.mesh.size }, (_, device) => device).filter(d => fresh(this.shardOf(d).join()))
  }

  /** The array whose shards these are. @param shards one for each of {@link holders} */
  join(shards: readonly Uint8Array[], shape: readonly number[]): Uint8Array {
    if (this.whole || shards[0]!.length === 0) return shards[0]!
    const bytes = new Uint8Array(shards[0]!.length * shards.length)
    this.holders.forEach((device, i) => {
      for (const { whole, part, length } of this.runs(this.shardOf(device), shape, bytes.length))
        bytes.set(shards[i]!.subarray(part, part + length), whole)
    })
    return bytes
  }

  /** Contiguous stretches of a shard: offsets in the whole array and in the shard, and lengths, in bytes. */
  private *runs(at: readonly number[], shape: readonly number[], size: number) {
    const counts = this.counts
    const last = counts.findLastIndex(n => n > 1) // axes after this one are undivided: one run holds them
    const unit = shape.slice(0, last + 1).reduce((n, d) => n / d, size) // bytes of an entry of that axis
    const lead = this.shardShape(shape).slice(0, last)
    const [rows, stretch] = [lead.reduce((n, d) => n * d, 1), (shape[last]! / counts[last]!) * unit]
    for (let row = 0; row < rows; row++) {
      let rest = row
      let place = 0
      let step = shape[last]! * unit
      for (let axis = last - 1; axis >= 0; axis--) {
        place += (at[axis]! * lead[axis]! + (rest % lead[axis]!)) * step
        rest = Math.floor(rest / lead[axis]!)
        step *= shape[axis]!
      }
      yield { whole: place + at[last]! * stretch, part: row * stretch, length: stretch }
    }
  }
}

function partText(mesh: Mesh, { axis, size, stride }: Part): string {
  const whole = mesh.axes[axis]!
  return size === whole ? `"${axis}"` : `"${axis}":(${whole / (size * stride)})${size}`
}

/** A device's place along each mesh axis. */
function coordinates(mesh: Mesh, device: number): Record<string, number> {
  const at: Record<string, number> = {}
  let rest = device
  for (const [axis, size] of Object.entries(mesh.axes).reverse()) {
    at[axis] = rest % size
    rest = Math.floor(rest / size)
  }
  return at
}

/** The sharding that a spec asks for.
 * @param what names the tensor in errors
 * @throws Error if the spec does not fit the mesh, or the shape does not divide */
export function shardingFor(mesh: Mesh, spec: Spec, shape: readonly number[], what: string): Sharding {
  const fail = (found: string, needed: string): never => {
    throw new Error(`${what}: ${found}; needed ${needed}.`)
  }
  const shown = `a tensor of shape [${shape.join(', ')}]`
  if (spec.length > shape.length) fail(`${spec.length} entries in the spec for ${shown}`, `at most one an axis`)
  const used = new Set<string>()
  const parts = shape.map((d, i) => {
    const axes = [spec[i] ?? []].flat()
    const of = axes.map((axis): Part => {
      const size = mesh.axes[axis]
      if (size === undefined) return fail(`there is no axis "${axis}" in the mesh ${String(mesh)}`, `one of its axes`)
      if (used.has(axis)) fail(`the spec names "${axis}" twice`, 'each mesh axis at most once')
      used.add(axis)
      return { axis, size, stride: 1 }
    })
    const ways = of.reduce((n, { size }) => n * size, 1)
    if (d % ways !== 0)
      fail(
        `axis ${i} of ${shown} does not divide over ${axes.join(' × ')} (${ways})`,
        `a multiple of ${ways}, or null for this axis, which leaves it whole`,
      )
    return of.filter(({ size }) => size > 1)
  })
  return mesh.sharding(parts)
}

/** A sharding as XLA's compiler tells it: OpSharding of xla_data.proto. */
export interface Tiling {
  /** Shards along each axis; beyond the tensor's rank: copies. Empty: every device holds all. */
  dimensions: readonly number[]
  /** Devices in row-major order of their tiles. */
  devices: readonly number[]
}

/** The sharding on a mesh that puts each shard where a tiling has it. */
export function shardingFromTiling(mesh: Mesh, { dimensions, devices }: Tiling, rank: number): Sharding {
  if (dimensions.length === 0) return mesh.whole(rank)
  const tiles = devices.length / dimensions.slice(rank).reduce((n, d) => n * d, 1)
  const copies = devices.length / tiles
  const wanted = Array.from<string>({ length: mesh.size })
  devices.forEach((device, i) => {
    let rest = Math.floor(i / copies)
    const at = dimensions.slice(0, rank).map(() => 0)
    for (let axis = rank - 1; axis >= 0; axis--) {
      at[axis] = rest % dimensions[axis]!
      rest = Math.floor(rest / dimensions[axis]!)
    }
    wanted[device] = at.join()
  })
  for (const parts of divisions(factors(mesh), dimensions.slice(0, rank))) {
    const sharding = mesh.sharding(parts.map(merged))
    if (wanted.every((at, device) => sharding.shardOf(device).join() === at)) return sharding
  }
  throw new Error(
    `xla: internal: no sharding on ${String(mesh)} has the tiles [${dimensions.join()}] on [${devices.join()}]`,
  )
}

/** Mesh axes as their prime factors, major first. */
function factors(mesh: Mesh): Part[] {
  return Object.entries(mesh.axes).flatMap(([axis, whole]) => {
    const parts: Part[] = []
    let stride = whole
    for (let prime = 2; stride > 1; prime++)
      while (stride % prime === 0) {
        stride /= prime
        parts.push({ axis, size: prime, stride })
      }
    return parts
  })
}

/** Every way to divide axes so often by some of the parts. */
function* divisions(parts: readonly Part[], counts: readonly number[]): Generator<Part[][]> {
  const [first, ...rest] = counts
  if (first === undefined) yield []
  else if (first === 1) for (const others of divisions(parts, rest)) yield [[], ...others]
  else
    for (const part of parts.filter(({ size }) => first % size === 0))
      for (const [head, ...others] of divisions(
        parts.filter(p => p !== part),
        [first / part.size, ...rest],
      ))
        yield [[part, ...head!], ...others]
}

/** Neighbouring factors of one axis as one. */
function merged(parts: readonly Part[]): Part[] {
  const result: Part[] = []
  for (const part of parts) {
    const last = result.at(-1)
    if (last?.axis === part.axis && last.stride === part.stride * part.size)
      result.splice(-1, 1, { ...part, size: last.size * part.size })
    else result.push(part)
  }
  return result
}
