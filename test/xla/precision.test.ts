import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { astype, autocast, fromBytes, jit, start, sync, typeOf, wideMatMul } from '../../src/xla/index.js'
import type { ElementType } from '../../src/xla/index.js'
import { promote } from '../../src/xla/types.js'
import { wrongTypes, wrongValues } from './precision.js'

const floats = (values: number[], type: ElementType = 'f32') => astype(tf.tensor1d(values), type)
const ints = (values: number[], type: ElementType = 's32') => astype(tf.tensor1d(values, 'int32'), type)

/** One kernel of each family whose values are compared; the long check `precision` takes all. */
const FAMILIES = [
  'Sigmoid',
  'Pow',
  'Mean',
  'Softmax',
  'Cumsum',
  'BatchMatMul',
  'FusedBatchNorm',
  'LRN',
  'Conv2D',
  'MaxPool',
  'AvgPool',
  'GatherV2',
  'ScatterNd',
  'UnsortedSegmentSum',
  'ResizeBilinear',
]

/** Compares element types and exact values of many tensors, computed by one program. */
async function expect(rows: Record<string, [tf.Tensor, ElementType, number[]]>): Promise<void> {
  await sync()
  for (const [name, [t, type, values]] of Object.entries(rows)) {
    assert.equal(typeOf(t), type, name)
    assert.deepEqual(Array.from(t.dataSync()), values, name)
  }
}

describe('element types', function () {
  this.timeout(60_000)
  before(() => start({ backend: 'xla' }))

  it('meet in the type that holds both', () => {
    const table: Record<string, ElementType> = {
      'bf16 bf16': 'bf16',
      'bf16 f16': 'f32',
      'bf16 f32': 'f32',
      'bf16 s64': 'bf16',
      'f16 pred': 'f16',
      'pred u8': 'u8',
      's8 u8': 's32',
      's8 u32': 's64',
      's32 u8': 's32',
      's32 u32': 's64',
      'u32 u8': 'u32',
      's64 u32': 's64',
    }
    for (const [pair, type] of Object.entries(table)) {
      const [a, b] = pair.split(' ') as [ElementType, ElementType]
      assert.equal(promote(a, b), type, pair)
      assert.equal(promote(b, a), type, pair)
    }
  })

  it('numbers take the type of the tensor they meet, scalar tensors have their own', async () => {
    const x = floats([1.5, -2], 'bf16')
    const some = tf.tensor1d([1, 0], 'bool')
    await expect({
      'x · 2': [tf.mul(x, 2), 'bf16', [3, -4]],
      '1 − x': [tf.sub(1, x), 'bf16', [-0.5, 3]],
      'x²': [tf.pow(x, 2), 'bf16', [2.25, 4]],
      'x or 0': [tf.where(some, x, 0), 'bf16', [1.5, 0]],
      'x · (1 or 3)': [tf.mul(x, tf.where(some, 1, 3)), 'bf16', [1.5, -6]],
      '(2 · 3) · x': [tf.mul(tf.mul(2, 3), x), 'bf16', [9, -12]],
      'integers · x': [tf.mul(ints([1, 2]), x), 'bf16', [1.5, -4]],
      'truths · x': [tf.mul(some, x), 'bf16', [1.5, -0]],
      'tf.scalar(2) · x': [tf.mul(tf.scalar(2), x), 'f32', [3, -4]],
      'in a scope of its own': [tf.tidy(() => tf.mul(x, tf.scalar(2))), 'f32', [3, -4]],
      'a list': [tf.add(x, [1, 2]), 'f32', [2.5, 0]],
      'floats of an integer': [tf.mul(tf.cast(ints([1, 2]), 'float32'), x), 'f32', [1.5, -4]],
      jitted: [jit((t: tf.Tensor) => tf.add(tf.mul(t, 2), 1))(x), 'bf16', [4, -3]],
      concatenated: [tf.concat([x, tf.tensor1d([1])]), 'f32', [1.5, -2, 1]],
    })
  })

  it('products of halves are summed in f32', async () => {
    const [row, column] = [astype(tf.fill([1, 600], 1), 'bf16'), astype(tf.fill([600, 1], 1), 'bf16')]
    const mixed = tf.matMul(row, tf.ones([600, 1]))
    // In bf16 a sum of ones stays at 256, where 257 would round back.
    await expect({
      matMul: [tf.reshape(tf.matMul(row, column), [1]), 'bf16', [600]],
      sum: [tf.sum(row, 1), 'bf16', [600]],
      mean: [tf.mean(row, 1), 'bf16', [1]],
      'with f32': [tf.reshape(mixed, [1]), 'f32', [600]],
      convolution: [
        tf.reshape(
          tf.conv1d(tf.reshape<tf.Rank.R3>(row, [1, 600, 1]), tf.reshape(column, [600, 1, 1]), 1, 'valid'),
          [1],
        ),
        'bf16',
        [600],
      ],
    })
  })

  it('wideMatMul keeps a sum that the operands could not hold', async () => {
    const [a, b] = [tf.reshape(floats([256, 1], 'bf16'), [1, 2]), tf.reshape(floats([1, 1], 'bf16'), [2, 1])]
    const [da, db] = tf.grads((a, b) => wideMatMul(a, b))([a, b]) as [tf.Tensor, tf.Tensor]
    await expect({
      product: [tf.reshape(wideMatMul(a, b), [1]), 'f32', [257]],
      'gradient of a': [tf.reshape(da, [2]), 'bf16', [1, 1]],
      'gradient of b': [tf.reshape(db, [2]), 'bf16', [256, 1]],
    })
  })

  it('autocast rounds the operands of products, and nothing else', async () => {
    const fine = 1 + 2 ** -10 // not a bf16 number
    const [a, b] = [tf.tensor2d([[fine]]), tf.tensor2d([[2]])]
    const flat = (t: tf.Tensor) => tf.reshape(t, [-1])
    const gradient = tf.grads((p: tf.Tensor, q: tf.Tensor) => tf.sum(tf.matMul(tf.mul(p, fine), q)))
    const [da, db] = autocast('bf16', () => gradient([a, b])) as [tf.Tensor, tf.Tensor]
    await expect({
      product: [flat(autocast('bf16', () => tf.matMul(a, b))), 'bf16', [2]],
      sum: [flat(autocast('bf16', () => tf.add(a, b))), 'f32', [Math.fround(fine + 2)]],
      after: [flat(tf.matMul(a, b)), 'f32', [2 * fine]],
      'gradient of a': [flat(da), 'f32', [2 * fine]],
      'gradient of b': [flat(db), 'f32', [1]],
    })
    const product = jit((p: tf.Tensor, q: tf.Tensor) => tf.matMul(p, q))
    assert.deepEqual([typeOf(product(a, b)), typeOf(autocast('bf16', () => product(a, b)))], ['f32', 'bf16'])
  })

  it('integers keep their type, wrap around, and are summed in 32 bits', async () => {
    const rows: Parameters<typeof expect>[0] = {}
    for (const type of ['s8', 'u8', 'u32', 's64'] as const) {
      const small = type === 's8' || type === 'u8'
      const sums = small ? 's32' : type
      const wrapped = (x: number) => (type === 's8' ? (x << 24) >> 24 : type === 'u8' ? x & 255 : x)
      const x = ints([100, 3], type)
      const of = {
        'x + x': [tf.add(x, x), type, [200, 6].map(wrapped)],
        'x · x': [tf.mul(x, x), type, [10000, 9].map(wrapped)],
        '−x': [tf.neg(x), type, [-100, -3].map(wrapped)],
        '|x|': [tf.abs(x), type, [100, 3]],
        sign: [tf.sign(tf.sub(x, x)), type, [0, 0]],
        'x // 7': [tf.floorDiv(x, ints([7, 2], type)), type, [14, 1]],
        'x mod 7': [tf.mod(x, ints([7, 2], type)), type, [2, 1]],
        'x ** 2': [tf.pow(x, ints([1, 4], type)), type, [100, 81]],
        max: [tf.max(x, 0, true), type, [100]],
        min: [tf.min(x, 0, true), type, [3]],
        sum: [tf.sum(tf.concat([x, x]), 0, true), sums, [206]],
        prod: [tf.prod(x, 0, true), sums, [300]],
        cumsum: [tf.cumsum(tf.concat([x, x])), sums, [100, 103, 203, 206]],
        mean: [tf.mean(x, 0, true), 'f32', [51.5]],
        'x > y': [tf.greater(x, ints([3, 100], type)), 'pred', [1, 0]],
        topk: [tf.topk(x, 1).values, type, [100]],
        argMax: [tf.reshape(tf.argMax(x), [1]), 's32', [0]],
        gather: [tf.gather(x, ints([1], type)), type, [3]],
        product: [tf.reshape(tf.matMul(tf.reshape(x, [1, 2]), tf.reshape(x, [2, 1])), [1]), sums, [10009]],
        'with a number': [tf.mul(x, 0.5), 'f32', [50, 1.5]],
        'as float': [tf.cast(x, 'float32'), 'f32', [100, 3]],
        'as truth': [tf.cast(tf.sub(x, ints([3, 3], type)), 'bool'), 'pred', [1, 0]],
      } satisfies typeof rows
      for (const [name, row] of Object.entries(of)) rows[`${type}, ${name}`] = row
    }
    await expect({
      ...rows,
      'beyond the digits of f32': [tf.floorDiv(ints([16777217, -7]), ints([1, 2])), 's32', [16777217, -4]],
      'a power beyond them': [tf.pow(ints([7]), ints([10])), 's32', [282475249]],
    })
  })

  it('are uploaded and read exactly', async () => {
    const numbers = [0, 1, 2, 127]
    for (const type of ['s8', 'u8', 's32', 'u32', 's64', 'bf16', 'f16', 'f32'] as const)
      await expect({ [type]: [astype(tf.tensor1d(numbers), type), type, numbers] })
    const bytes = (array: ArrayBufferView) => new Uint8Array(array.buffer)
    await expect({
      s8: [fromBytes(bytes(Int8Array.of(-128, 127)), [2], 's8'), 's8', [-128, 127]],
      u8: [fromBytes(bytes(Uint8Array.of(0, 255)), [2], 'u8'), 'u8', [0, 255]],
      u32: [fromBytes(bytes(Uint32Array.of(2 ** 31)), [1], 'u32'), 'u32', [-(2 ** 31)]], // tfjs has int32
      s64: [fromBytes(bytes(BigInt64Array.of(-5n)), [1], 's64'), 's64', [-5]],
      bf16: [fromBytes(bytes(Uint16Array.of(0x3f80, 0xff80)), [2], 'bf16'), 'bf16', [1, -Infinity]],
      f16: [fromBytes(bytes(Uint16Array.of(0x3c00, 0x0001)), [2], 'f16'), 'f16', [1, 2 ** -24]],
      pred: [fromBytes(bytes(Uint8Array.of(0, 1)), [2], 'pred'), 'pred', [0, 1]],
    })
  })

  for (const type of ['bf16', 'f16'] as const) {
    it(`every kernel keeps ${type}, and so does its gradient`, () => assert.deepEqual(wrongTypes(type), []))
    it(`kernels in ${type} agree with float32`, async () => assert.deepEqual(await wrongValues(FAMILIES, type, 0), []))
  }
})
