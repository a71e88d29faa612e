import * as tf from '@tensorflow/tfjs-core'
import { backend, onXla } from './backend.js'
import { ASTYPE, COPY, DYNAMIC_SLICE, DYNAMIC_UPDATE_SLICE, WIDE_MATMUL, listed } from './kernels/engine.js'
import { mapTensors, tensorsOf } from './tree.js'
import type { TensorTree } from './tree.js'
import { ELEMENT, isFloat } from './types.js'
import type { ElementType } from './types.js'

/** Converts to an element type of the device. tfjs goes on to see float32 for bf16 and f16, and int32 for s8 and u8.
 * Differentiable. On a stock backend a float stays f32, with one warning. */
export function astype<T extends tf.Tensor>(x: T, type: ElementType): T {
  if (isFloat(type) && type !== 'f32' && !storesHalf()) return tf.cast(x, 'float32')
  if (!onXla()) return tf.cast(x, ELEMENT[type].dtype)
  return backend().storage(x).type === type ? tf.clone(x) : tf.engine().runKernel(ASTYPE, { x }, { type })
}

let told = false

/** Whether the backend stores bf16 and f16. A stock backend stores f32 in their place; the first time, it is said. */
export function storesHalf(): boolean {
  if (onXla()) return true
  if (!told) console.warn(`The backend ${tf.getBackend()} has no bf16 and f16: such values are stored as f32.`)
  told = true
  return false
}

/** The element type a tensor is stored in. */
export function typeOf(x: tf.Tensor): ElementType {
  if (onXla()) return backend().storage(x).type
  return x.dtype === 'bool' ? 'pred' : x.dtype === 'int32' ? 's32' : 'f32'
}

/** tf.matMul, but the product of half-precision tensors is f32, as its sums are, and not rounded. Differentiable; the gradient
 * is computed in the operands' type. */
export function wideMatMul(a: tf.Tensor, b: tf.Tensor, transposeA = false, transposeB = false): tf.Tensor {
  if (!onXla()) return tf.matMul(a, b, transposeA, transposeB)
  return tf.engine().runKernel(WIDE_MATMUL, { a, b }, { transposeA, transposeB })
}

tf.registerGradient({
  kernelName: WIDE_MATMUL,
  inputsToSave: ['a', 'b'],
  gradFunc: (dy, saved, attrs) => {
    const [a, b] = saved.map(typeOf)
    const rounded = a === b ? astype(dy as tf.Tensor, a!) : dy
    return tf.getGradient(tf.BatchMatMul).gradFunc(rounded, saved, attrs)
  },
})

/** A copy with memory of its own (tfjs's clone shares it), which may be donated. */
export function copy<T extends tf.Tensor>(x: T): T {
  return onXla() ? tf.engine().runKernel(COPY, { x }) : tf.tidy(() => tf.add(x, tf.zerosLike(x)))
}

type Start = tf.Tensor | number

const startTensors = (starts: readonly Start[]): tf.Tensor[] =>
  starts.map(s => (typeof s === 'number' ? tf.scalar(s, 'int32') : s))

/** The slice of `sizes` at computed starts, one an axis; clamped to lie within x. Differentiable. */
export function dynamicSlice<T extends tf.Tensor>(x: T, starts: readonly Start[], sizes: readonly number[]): T {
  checkRank('dynamicSlice', x, starts)
  if (!onXla()) return tf.slice(x, clamped(x, starts, sizes), [...sizes])
  return tf.tidy(() =>
    tf.engine().runKernel(DYNAMIC_SLICE, listed([x, ...startTensors(starts)]), { sizes: [...sizes] }),
  )
}

/** x with `update` written at computed starts, one an axis; clamped to lie within x. Differentiable. */
export function dynamicUpdateSlice<T extends tf.Tensor>(x: T, update: tf.Tensor, starts: readonly Start[]): T {
  checkRank('dynamicUpdateSlice', x, starts)
  if (onXla())
    return tf.tidy(() => tf.engine().runKernel(DYNAMIC_UPDATE_SLICE, listed([x, update, ...startTensors(starts)])))
  return tf.tidy<T>(() => {
    const begin = clamped(x, starts, update.shape)
    const paddings = begin.map((b, i) => [b, x.shape[i]! - b - update.shape[i]!] as [number, number])
    const inside = tf.pad(tf.onesLike(update), paddings)
    return tf.add<T>(tf.mul(x, tf.sub(tf.scalar(1, x.dtype as 'float32'), inside)), tf.pad(update, paddings))
  })
}

function checkRank(what: string, x: tf.Tensor, starts: readonly Start[]): void {
  if (starts.length !== x.rank)
    throw new Error(`xla.${what}: ${starts.length} starts for a tensor of rank ${x.rank}; needed one an axis`)
}

function clamped(x: tf.Tensor, starts: readonly Start[], sizes: readonly number[]): number[] {
  return starts.map((s, i) => {
    const at = typeof s === 'number' ? s : s.dataSync()[0]!
    return Math.min(Math.max(at, 0), x.shape[i]! - sizes[i]!)
  })
}

/** The slices of a tree's tensors along their first axis, [N, …] → N trees of […]. Where the device can, they are views of the
 * tensors' memory, and nothing is copied; the memory stays until the last view is disposed and the programs that read it have
 * ended. A tensor with views cannot be donated.
 * @param n of a tree without tensors, too, N empty trees are made */
export async function unstack<T extends TensorTree>(tree: T, n: number): Promise<T[]> {
  const parts = new Map<tf.Tensor, tf.Tensor[]>()
  for (const x of tensorsOf(tree)) parts.set(x, (onXla() && (await backend().views(x))) || tf.unstack(x))
  return Array.from({ length: n }, (_, i) => mapTensors(tree, x => parts.get(x)![i]!))
}
