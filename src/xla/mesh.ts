import * as tf from '@tensorflow/tfjs-core'
import { backend, onXla } from './backend.js'
import { Node, Trace } from './graph.js'
import { CONSTRAIN } from './kernels/engine.js'
import { taping } from './record.js'
import { Mesh, shardingFor } from './sharding.js'
import type { Sharding, Spec } from './sharding.js'
import { mapTensors, tensorsOf } from './tree.js'

/** Devices in a grid with named axes, as jax.sharding.Mesh: `mesh({ data: 2, model: 2 })` is four devices.
 * @throws Error if the client has fewer */
export function mesh(axes: Readonly<Record<string, number>>): Mesh {
  const shown = JSON.stringify(axes)
  if (!onXla())
    throw new Error(`xla.mesh: tfjs runs on "${tf.getBackend()}", which knows one device; needed the backend "xla".`)
  for (const [axis, size] of Object.entries(axes)) {
    if (!/^[a-z]+$/i.test(axis)) throw new Error(`xla.mesh: an axis is called "${axis}"; needed letters only.`)
    if (!Number.isInteger(size) || size < 1)
      throw new Error(`xla.mesh: axis "${axis}" has size ${size}; needed an integer ≥ 1.`)
  }
  const size = Object.values(axes).reduce((n, d) => n * d, 1)
  const { devices, platform } = backend().engine.client
  if (size > devices.length)
    throw new Error(
      `xla.mesh: ${shown} needs ${size} devices, found ${devices.length} (${platform}). Use a smaller mesh` +
        (platform === 'cpu' ? ', or more virtual devices: start({ cpuDevices }) or REWARDLAB_CPU_DEVICES.' : '.'),
    )
  return Mesh.of(axes)
}

/** Places tensors on the devices of a mesh, as jax.device_put with a NamedSharding: each device gets its share alone, so that
 * what does not fit on one may be spread. Programs that read a placed tensor run on its mesh; tensors on one device that they
 * read too are copied whole to every device of the mesh. Reading a tensor's values puts its shards together.
 * @param spec for all tensors, or for each: `['data', null]` divides the first axis over the mesh axis `data`; `[]` divides none
 * @returns new tensors; inside a traced function {@link constrain}ed ones. Differentiable
 * @throws Error if an axis does not divide evenly, or the spec does not fit the mesh */
export function shard<T>(tree: T, mesh: Mesh, spec: Spec | ((path: string, shape: readonly number[]) => Spec)): T {
  const placed = mapTensors(tree, (t, path) => {
    const what = `xla.shard${path && `: ${path}`}`
    return place(t, shardingFor(mesh, typeof spec === 'function' ? spec(path, t.shape) : spec, t.shape, what))
  })
  if (!Trace.current) backend().engine.materialize(tensorsOf(placed).map(t => backend().storage(t)))
  return placed
}

function place(t: tf.Tensor, sharding: Sharding): tf.Tensor {
  const xla = backend()
  const stored = xla.storage(t)
  if (Trace.current || taping()) return constrained(t, sharding)
  // Values on the host go to their devices without being whole on one; so do those on a single device, by way of the host.
  const host = stored.host ?? (stored.buffer && stored.sharding?.mesh !== sharding.mesh ? stored.buffer.read() : null)
  if (!host) return constrained(t, sharding)
  const node = new Node('input', [], '', t.shape, stored.type)
  node.buffer = xla.engine.client.upload(host, t.shape, stored.type, sharding)
  return xla.tensor(node)
}

/** The same values, divided over a mesh like this from here on: as jax.lax.with_sharding_constraint. Differentiable.
 * @param spec as of {@link shard} */
export function constrain<T extends tf.Tensor>(x: T, mesh: Mesh, spec: Spec): T {
  return constrained(x, shardingFor(mesh, spec, x.shape, 'xla.constrain'))
}

const constrained = <T extends tf.Tensor>(x: T, sharding: Sharding): T =>
  tf.engine().runKernel(CONSTRAIN, { x }, { sharding } as unknown as tf.NamedAttrMap)

/** Where a tensor's values lie: the mesh, the mesh axes that divide each axis, and the shape of what one device holds.
 * Null: on one device. Computes the values if they are not there yet. */
export function placement(x: tf.Tensor): { mesh: Mesh; spec: string[][]; shard: number[] } | null {
  const { engine } = backend()
  const node = backend().node(x)
  const { sharding } = engine.buffer(node)
  return (
    sharding && {
      mesh: sharding.mesh,
      spec: sharding.parts.map(of => of.map(part => part.axis)),
      shard: sharding.shardShape(x.shape),
    }
  )
}
