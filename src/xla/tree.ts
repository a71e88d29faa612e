import * as tf from '@tensorflow/tfjs-core'

/** Nested containers (arrays and plain objects) with leaves of type T. */
export type Tree<T> = T | readonly Tree<T>[] | { readonly [key: string]: Tree<T> }
export type TensorTree = Tree<tf.Tensor>

/** What may stand in the arguments of a jitted function: tensors, and static values that belong to its signature. */
export type Static = number | string | boolean | null | undefined
export type ArgumentTree = Tree<tf.Tensor | Static>

export const isTensor = (value: unknown): value is tf.Tensor => value instanceof tf.Tensor

/** Calls `visit(leaf, path)` for each tensor of a tree, objects in key-insertion order; other leaves are passed over. */
export function eachTensor(tree: unknown, visit: (tensor: tf.Tensor, path: string) => void, path = ''): void {
  if (isTensor(tree)) return visit(tree, path)
  if (Array.isArray(tree)) tree.forEach((child, i) => eachTensor(child, visit, `${path}[${i}]`))
  else if (tree !== null && typeof tree === 'object')
    for (const [key, child] of Object.entries(tree)) eachTensor(child, visit, path === '' ? key : `${path}.${key}`)
}

/** The tensors of a tree, in the order of {@link eachTensor}. */
export function tensorsOf(tree: unknown): tf.Tensor[] {
  const leaves: tf.Tensor[] = []
  gather(tree, leaves)
  return leaves
}

function gather(tree: unknown, leaves: tf.Tensor[]): void {
  if (isTensor(tree)) leaves.push(tree)
  else if (tree !== null && typeof tree === 'object') for (const child of Object.values(tree)) gather(child, leaves)
}

/** The tensors of a tree in the order of another, which has the same structure (the keys of its objects may be in another order).
 * @throws naming the tensors of both if they differ */
export function tensorsLike(reference: unknown, tree: unknown, what: string): tf.Tensor[] {
  const found = new Map<string, tf.Tensor>()
  eachTensor(tree, (t, path) => found.set(path, t))
  const wanted: string[] = []
  eachTensor(reference, (_, path) => wanted.push(path))
  const list = (paths: Iterable<string>) => [...paths].map(path => path || 'one tensor').join(', ') || 'no tensor'
  if (found.size !== wanted.length || wanted.some(path => !found.has(path)))
    throw new Error(`${what} has ${list(found.keys())}; needed ${list(wanted)}, as at the start.`)
  return wanted.map(path => found.get(path)!)
}

/** A tree of the same structure with each tensor replaced; other leaves are kept. */
export function mapTensors<T>(tree: T, f: (tensor: tf.Tensor, path: string) => tf.Tensor, path = ''): T {
  if (isTensor(tree)) return f(tree, path) as T
  if (Array.isArray(tree)) return tree.map((child: unknown, i) => mapTensors(child, f, `${path}[${i}]`)) as T
  if (tree !== null && typeof tree === 'object')
    return Object.fromEntries(
      Object.entries(tree).map(([key, child]) => [key, mapTensors(child, f, path === '' ? key : `${path}.${key}`)]),
    ) as T
  return tree
}

/** Replaces a tree's tensors, in the order of {@link eachTensor}, by those given. */
export function withTensors<T>(tree: T, tensors: readonly tf.Tensor[]): T {
  let next = 0
  const replace = (tree: unknown): unknown => {
    if (isTensor(tree)) return tensors[next++]!
    if (Array.isArray(tree)) return tree.map(replace)
    if (tree === null || typeof tree !== 'object') return tree
    return Object.fromEntries(Object.entries(tree).map(([key, child]) => [key, replace(child)]))
  }
  return replace(tree) as T
}

/** Disposes each tensor of a tree. */
export function disposeTree(tree: unknown): void {
  eachTensor(tree, t => t.dispose())
}
