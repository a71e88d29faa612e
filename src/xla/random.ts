import * as tf from '@tensorflow/tfjs-core'
import { backend, onXla } from './backend.js'
import type { Node } from './graph.js'
import * as hlo from './hlo.js'
import { sizeOf } from './types.js'

/* Counter-based randomness with explicit keys: Threefry-2x32 with 20 rounds over the index of each value, so that the same key gives
 * the same bits on any device, in any sharding, jitted or not. Bits equal jax.random's (threefry, partitionable).
 * Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011). */

const ROTATIONS = [
  [13, 15, 26, 6],
  [17, 29, 16, 24],
] as const
const PARITY = 0x1bd11bda

/** 32-bit words as the cipher needs them: JavaScript numbers, or nodes. */
interface Words<T> {
  add(a: T, b: T): T
  xor(a: T, b: T): T
  rotate(a: T, bits: number): T
  word(value: number): T
}

function threefry<T>(w: Words<T>, key: readonly [T, T], counter: readonly [T, T]): [T, T] {
  const keys = [key[0], key[1], w.xor(w.xor(key[0], key[1]), w.word(PARITY))] as const
  let x = w.add(counter[0], keys[0])
  let y = w.add(counter[1], keys[1])
  for (let group = 0; group < 5; group++) {
    for (const bits of ROTATIONS[(group % 2) as 0 | 1]) {
      x = w.add(x, y)
      y = w.xor(w.rotate(y, bits), x)
    }
    x = w.add(x, keys[((group + 1) % 3) as 0 | 1 | 2])
    y = w.add(w.add(y, keys[((group + 2) % 3) as 0 | 1 | 2]), w.word(group + 1))
  }
  return [x, y]
}

const NUMBERS: Words<number> = {
  add: (a, b) => (a + b) | 0,
  xor: (a, b) => a ^ b,
  rotate: (a, bits) => (a << bits) | (a >>> (32 - bits)),
  word: value => value | 0,
}

const shiftBy = (op: string, x: Node, bits: number) => hlo.binary(op, x, hlo.like(x, bits))
const NODES: Words<Node> = {
  add: hlo.add,
  xor: (a, b) => hlo.binary('xor', a, b),
  rotate: (a, bits) => hlo.binary('or', shiftBy('shift_left', a, bits), shiftBy('shift_right_logical', a, 32 - bits)),
  word: value => hlo.fill(value, [], 'u32'),
}

/** A key from a seed: an integer of up to 53 bits. */
export function key(seed: number): tf.Tensor1D {
  if (!Number.isSafeInteger(seed)) throw new Error(`random.key: the seed is ${seed}; needed an integer`)
  return tf.tensor1d([Math.floor(seed / 2 ** 32) | 0, seed | 0], 'int32')
}

/** Independent keys from one. */
export function split(parent: tf.Tensor, n = 2): tf.Tensor1D[] {
  return tf.tidy(() => {
    const words = cipher(parent, n)
    return tf.unstack(tf.stack(words, 1)) as tf.Tensor1D[]
  })
}

/** The key that belongs to a number (a step, a row): same parent and number, same key. */
export function foldIn(parent: tf.Tensor, data: number | tf.Tensor): tf.Tensor1D {
  const value = typeof data === 'number' ? tf.scalar(data, 'int32') : tf.cast(data, 'int32')
  return tf.tidy(() => {
    if (!onXla()) {
      const [a, b] = parent.dataSync() as unknown as [number, number]
      return tf.tensor1d(threefry(NUMBERS, [a, b], [0, value.dataSync()[0]!]), 'int32')
    }
    const xla = backend()
    const counter = hlo.bitcast(hlo.reshape(xla.node(value), []), 'u32')
    const words = threefry(NODES, keyNodes(parent), [hlo.like(counter, 0), counter])
    return xla.tensor(
      hlo.concatenate(
        words.map(w => hlo.reshape(hlo.bitcast(w, 's32'), [1])),
        0,
      ),
    ) as tf.Tensor1D
  })
}

function keyNodes(k: tf.Tensor): [Node, Node] {
  const words = hlo.bitcast(backend().node(k), 'u32')
  return [0, 1].map(i => hlo.reshape(hlo.slice(words, [i], [i + 1]), [])) as [Node, Node]
}

/** Both words for the counters 0 … n−1, as int32 tensors [n]. */
function cipher(k: tf.Tensor, n: number): [tf.Tensor, tf.Tensor] {
  if (onXla()) return cipherNodes(k, [n]).map(w => backend().tensor(hlo.bitcast(w, 's32'))) as [tf.Tensor, tf.Tensor]
  const [a, b] = k.dataSync() as unknown as [number, number]
  const words = [new Int32Array(n), new Int32Array(n)] as const
  for (let i = 0; i < n; i++) [words[0][i], words[1][i]] = threefry(NUMBERS, [a, b], [0, i])
  return [tf.tensor1d(words[0], 'int32'), tf.tensor1d(words[1], 'int32')]
}

function cipherNodes(k: tf.Tensor, shape: readonly number[]): [Node, Node] {
  const size = sizeOf(shape)
  const index = hlo.reshape(hlo.iota([size], 0, 'u32'), shape)
  return threefry(NODES, keyNodes(k), [hlo.like(index, 0), index])
}

/** Random 32-bit words. @returns int32 `shape` */
export function bits(k: tf.Tensor, shape: readonly number[]): tf.Tensor {
  if (onXla()) {
    const [x, y] = cipherNodes(k, shape)
    return backend().tensor(hlo.bitcast(NODES.xor(x, y), 's32'))
  }
  const [x, y] = cipher(k, sizeOf(shape)).map(t => t.dataSync()) as [Int32Array, Int32Array]
  const words = x.map((v, i) => v ^ y[i]!)
  return tf.tensor(words, [...shape], 'int32')
}

/** Uniform in [0, 1), 23 random bits each. @returns float32 `shape` */
export function uniform(k: tf.Tensor, shape: readonly number[]): tf.Tensor {
  if (onXla()) {
    const [x, y] = cipherNodes(k, shape)
    const mantissa = shiftBy('shift_right_logical', NODES.xor(x, y), 9)
    const float = hlo.bitcast(hlo.binary('or', mantissa, hlo.like(mantissa, 0x3f800000)), 'f32')
    return backend().tensor(hlo.subtract(float, hlo.like(float, 1)))
  }
  const words = bits(k, shape).dataSync() as Int32Array
  return tf.tensor(
    new Float32Array(words.length).map((_, i) => (words[i]! >>> 9) * 2 ** -23), // Float32Array.from would hold a list besides
    [...shape],
  )
}

const TINY = 1.1754943508222875e-38

/** Standard normal by the inverse error function. @returns float32 `shape` */
export function normal(k: tf.Tensor, shape: readonly number[]): tf.Tensor {
  return tf.tidy(() => {
    const low = -0.9999999403953552 // the float32 after −1
    const u = tf.maximum(tf.add(tf.mul(uniform(k, shape), 1 - low), low), low)
    const z = onXla()
      ? backend().tensor(hlo.chlo('erf_inv', backend().node(u)))
      : tf.tensor(u.dataSync<'float32'>().map(inverseErf), [...shape])
    return tf.mul(z, Math.SQRT2)
  })
}

/** Standard Gumbel: −log(−log u). @returns float32 `shape` */
export function gumbel(k: tf.Tensor, shape: readonly number[]): tf.Tensor {
  return tf.tidy(() => tf.neg(tf.log(tf.neg(tf.log(tf.maximum(uniform(k, shape), TINY))))))
}

/** Draws indices with the probabilities softmax(logits). @param logits [..., V] @returns int32 [...] */
export function categorical(k: tf.Tensor, logits: tf.Tensor): tf.Tensor {
  return tf.tidy(() => tf.argMax(tf.add(logits, gumbel(k, logits.shape)), -1))
}

/** Giles's single-precision polynomial, as XLA computes it (GPU Computing Gems 2, chapter 10). */
function inverseErf(x: number): number {
  let w = -Math.log1p(-x * x)
  const polynomial = (c: readonly number[], at: number) => c.reduce((p, a) => a + p * at, 0)
  w = w < 5 ? w - 2.5 : Math.sqrt(w) - 3
  return x * polynomial(-Math.log1p(-x * x) < 5 ? CENTRAL : TAIL, w)
}
const CENTRAL = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503, -0.00417768164,
  0.246640727, 1.50140941,
]
const TAIL = [
  -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
  1.00167406, 2.83297682,
]
