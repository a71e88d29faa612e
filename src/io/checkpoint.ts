import { access, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import {
  disposeTree,
  eachTensor,
  fromBytes,
  jit,
  storesHalf,
  mapTensors,
  quantizeNf4,
  type Nf4,
  type TensorTree,
} from '../xla/index.js'
import { readJson } from './json.js'
import { excerpt } from './excerpt.js'
import {
  AS_SAFETENSORS,
  encodeTensor,
  openSafetensors,
  writeSafetensors,
  type StoredTensor,
  type TensorInfo,
  type TensorSource,
} from './safetensors.js'

/** One leaf of a weight tree: where it lies in the tree and what a checkpoint calls it. A `*` in the name stands for
 * the layer; such tensors are stacked along a leading axis of that many layers. */
export interface Parameter {
  /** Keys joined by dots, e.g. `layers.self_attn.q_proj.weight`. */
  path: string
  /** Name in the checkpoint, e.g. `model.layers.*.self_attn.q_proj.weight`. */
  name: string
  /** Shape in the checkpoint, of one layer. */
  shape: number[]
  /** What `*` counts up to, where it is not what the whole model's layers are: a model may have several stacks. */
  layers?: number
  /** What `*` counts by, from 0: some weights are those of each so many-th layer. Default 1. */
  step?: number
}

/** How floating-point weights are kept on the device. */
export type WeightType = 'float32' | 'bfloat16'

/** Opens the weights of a model directory: `model.safetensors`, or the shards of `model.safetensors.index.json`.
 * @throws Error if there are none, or other than safetensors: those are pickles, which may run code */
export async function openCheckpoint(dir: string, stem = 'model'): Promise<TensorSource> {
  const single = join(dir, `${stem}.safetensors`)
  const index = `${single}.index.json`
  if (await exists(single)) return openSafetensors(single)
  if (await exists(index)) return openShards(dir, index)
  const files = await readdir(dir).catch(() => [])
  const pickle = files.find(name => /\.(bin|pt|pth|ckpt|pkl|pickle)(\.index\.json)?$/.test(name))
  if (pickle) throw new Error(`${dir}: found ${excerpt(pickle)}, needed ${stem}.safetensors. ${AS_SAFETENSORS}`)
  throw new Error(`${dir}: no weights. Needed: ${stem}.safetensors or ${stem}.safetensors.index.json. Check the path.`)
}

/** The same tensors, with `prefix` taken off the names that have it: some versions of a library write it, others do not. */
export const withoutPrefix = (source: TensorSource, prefix: string): TensorSource =>
  renamed(source, name => (name.startsWith(prefix) ? name.slice(prefix.length) : name))

/** The same tensors under other names. */
export function renamed(source: TensorSource, rename: (name: string) => string): TensorSource {
  const stored = new Map([...source.tensors.keys()].map(name => [rename(name), name]))
  const tensors = new Map([...source.tensors].map(([name, info]) => [rename(name), info]))
  return { ...source, tensors, read: name => source.read(stored.get(name)!) }
}

/** Reads the weights that `parameters` names into a tree, a stacked tensor at a time.
 * @param options.layers what `*` counts up to, of parameters that do not say it themselves
 * @param options.ignore names that may be there without being used
 * @param options.quantized which of those with a `*` to quantise to NF4 while they are read
 * @throws Error that counts missing, unexpected and misshapen tensors, and names the first of each */
export async function loadWeights(
  source: TensorSource,
  parameters: readonly Parameter[],
  options: { layers?: number; dtype?: WeightType; ignore?: RegExp; quantized?: (parameter: Parameter) => boolean },
): Promise<TensorTree> {
  const { layers, dtype = 'float32', ignore, quantized } = options
  checkNames(source, parameters, layers, ignore)
  const half = dtype === 'bfloat16' && storesHalf()
  const leaves: [string, tf.Tensor][] = []
  for (const parameter of parameters) {
    const { path, name, shape } = parameter
    const names = expand(parameter, layers)
    if (quantized?.(parameter)) {
      eachTensor(await readNf4(source, names, shape), (t, key) => leaves.push([`${path}.${key}`, t]))
      continue
    }
    const size = shape.reduce((n, d) => n * d, 1)
    const stacked = new Uint8Array(names.length * size * (half ? 2 : 4))
    for (const [i, layer] of names.entries()) {
      const values = encodeTensor(await source.read(layer), half ? 'BF16' : 'F32')
      stacked.set(values, i * values.length)
    }
    const full = name.includes('*') ? [names.length, ...shape] : shape
    leaves.push([path, half ? fromBytes(stacked, full, 'bf16') : tf.tensor(new Float32Array(stacked.buffer), full)])
  }
  return treeOf(leaves)
}

const quantize = jit(quantizeNf4)
const stack = jit((layers: Nf4[]) => mapTensors(layers[0]!, (_, key) => tf.stack(layers.map(l => l[key as keyof Nf4]))))

/** Quantised matrices of all layers, stacked. Only one at a time is in memory in full precision. */
async function readNf4(source: TensorSource, names: readonly string[], shape: number[]): Promise<Nf4> {
  const layers: Nf4[] = []
  for (const name of names) {
    const x = tf.tensor(await source.read(name), shape)
    layers.push(await quantize.async(x))
    x.dispose()
  }
  const stacked = await stack.async(layers)
  disposeTree(layers)
  return stacked
}

/** Writes a tree under its checkpoint names, a tensor at a time.
 * @param options.beside tensors of another file that are written as they are */
export async function saveWeights(
  file: string,
  weights: TensorTree,
  parameters: readonly Parameter[],
  options: {
    layers?: number
    dtype?: 'F32' | 'BF16'
    metadata?: Record<string, string>
    beside?: { source: TensorSource; names: readonly string[] }
  },
): Promise<void> {
  const { layers, dtype = 'F32', metadata, beside } = options
  let last: { path: string; data: Float32Array } | undefined
  const stored: Record<string, StoredTensor> = {}
  for (const parameter of parameters) {
    const { path, shape } = parameter
    const size = shape.reduce((n, d) => n * d, 1)
    for (const [i, layer] of expand(parameter, layers).entries())
      stored[layer] = {
        dtype,
        shape,
        async data() {
          if (last?.path !== path)
            last = { path, data: (await (leafAt(weights, path) as tf.Tensor).data()) as Float32Array }
          return last.data.subarray(i * size, (i + 1) * size)
        },
      }
  }
  for (const name of beside?.names ?? [])
    stored[name] = { dtype, shape: beside!.source.tensors.get(name)!.shape, data: () => beside!.source.read(name) }
  await writeSafetensors(file, stored, { format: 'pt', ...metadata })
}

/** The tree with these leaves, by dotted path. */
export function treeOf<T extends tf.Tensor>(leaves: Iterable<[path: string, leaf: T]>): TensorTree {
  const root: Record<string, unknown> = {}
  for (const [path, leaf] of leaves) {
    const keys = path.split('.')
    const last = keys.pop()!
    let node = root
    for (const key of keys) {
      if (!Object.hasOwn(node, key)) node[key] = {} // no property that objects inherit, such as constructor
      node = node[key] as Record<string, unknown>
      if (key === '__proto__' || node instanceof tf.Tensor) throw astray(path)
    }
    if (last === '__proto__' || Object.hasOwn(node, last)) throw astray(path)
    node[last] = leaf
  }
  return root as TensorTree
}

const astray = (path: string): Error =>
  new Error(`treeOf: ${excerpt(path)} has no place beside the other leaves. Write the file again.`)

/** What stands at a dotted path of a tree: a tensor, or a quantised matrix. */
export function leafAt(tree: TensorTree, path: string): TensorTree {
  let node: TensorTree | undefined = tree
  for (const key of path.split('.')) node = (node as Record<string, TensorTree> | undefined)?.[key]
  if (node === undefined) throw new Error(`leafAt: the tree has nothing at ${path}.`)
  return node
}

/** Names of tensors in a message, at most, of each kind. */
const LISTED = 8
const MOST_LAYERS = 10_000

function checkNames(
  source: TensorSource,
  parameters: readonly Parameter[],
  layers: number | undefined,
  ignore?: RegExp,
): void {
  const needed = new Map(parameters.flatMap(p => expand(p, layers).map(name => [name, p.shape] as const)))
  const missing = [...needed.keys()].filter(name => !source.tensors.has(name))
  const unexpected = [...source.tensors.keys()].filter(name => !needed.has(name) && !ignore?.test(name))
  const misshapen = [...needed].flatMap(([name, shape]) => {
    const [found, wanted] = [source.tensors.get(name)?.shape.join(','), shape.join(',')]
    return found === undefined || found === wanted ? [] : [`${name} is [${found}], needed [${wanted}]`]
  })
  const problems = Object.entries({ missing, unexpected, misshapen }).flatMap(([what, names]) => {
    const more = names.length > LISTED ? ', …' : ''
    return names.length > 0
      ? [
          `${names.length} ${what}: ${names
            .slice(0, LISTED)
            .map(name => name.slice(0, 200))
            .join(', ')}${more}`,
        ]
      : []
  })
  if (problems.length > 0)
    throw new Error(`${source.path}: ${problems.join('; ')}. Use the config.json that belongs to these weights.`)
}

function expand({ name, layers: own, step = 1 }: Parameter, layers: number | undefined): string[] {
  if (!name.includes('*')) return [name]
  const length = own ?? layers
  if (length !== undefined && length > MOST_LAYERS) throw new Error(`${name}: ${length} layers, needed at most ${MOST_LAYERS}.`) // prettier-ignore
  if (length === undefined) throw new Error(`${name}: nobody says how many layers "*" stands for. Give \`layers\`.`)
  return Array.from({ length }, (_, i) => name.replace('*', String(i * step)))
}

async function openShards(dir: string, index: string): Promise<TensorSource> {
  const map = (await readJson(index))['weight_map']
  const shardOf = new Map(Object.entries((map ?? {}) as Record<string, string>))
  const astray = [...shardOf.values()].find(
    file => typeof file !== 'string' || !/^[^/\\]{1,200}\.safetensors$/.test(file),
  )
  if (typeof map !== 'object' || shardOf.size === 0 || astray !== undefined)
    throw new Error(`${index}: weight_map ${astray === undefined ? 'is missing' : `names ${excerpt(astray)}`}, needed names of safetensors files beside it.`) // prettier-ignore
  const shards = new Map<string, TensorSource>()
  const close = async () => void (await Promise.all([...shards.values()].map(shard => shard.close())))
  try {
    for (const shard of new Set(shardOf.values())) shards.set(shard, await openSafetensors(join(dir, shard)))
    const tensors = new Map<string, TensorInfo>()
    for (const [name, shard] of shardOf) {
      const info = shards.get(shard)!.tensors.get(name)
      if (!info)
        throw new Error(
          `${index}: weight_map places ${excerpt(name)} in ${excerpt(shard)}, which lacks it. Fetch both again.`,
        )
      tensors.set(name, info)
    }
    const read = (name: string) => shards.get(shardOf.get(name)!)!.read(name)
    return { path: index, metadata: {}, tensors, read, close }
  } catch (error) {
    await close()
    throw error
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
