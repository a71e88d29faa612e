import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import { backend } from '../../src/xla/backend.js'
import { Node } from '../../src/xla/graph.js'
import { astype, scan, start, stats, sync, typeOf } from '../../src/xla/index.js'

const values = (t: tf.Tensor): number[] => Array.from(t.dataSync())

/** What the engine did while `f` ran. */
function counted<T>(f: () => T): { result: T; compiled: number; executed: number } {
  const before = stats()!
  const result = f()
  const after = stats()!
  return { result, compiled: after.compiled - before.compiled, executed: after.executed - before.executed }
}

describe('lazy graph', function () {
  this.timeout(30_000) // compiling takes what other work on the machine leaves
  before(() => start({ backend: 'xla' }))

  it('runs nothing until a value is read, and then one program', () => {
    const { result, executed } = counted(() => tf.exp(tf.add(tf.mul(tf.tensor1d([1, 2]), 0), 0)))
    assert.equal(executed, 0)
    const read = counted(() => values(result))
    assert.deepEqual(read.result, [1, 1])
    assert.equal(read.executed, 1)
    assert.equal(counted(() => values(result)).executed, 0, 'values are kept')
  })

  it('keeps the values of live tensors that are computed on the way', () => {
    const a = tf.add(tf.tensor1d([1, 2]), 1)
    const b = tf.square(a)
    assert.deepEqual(values(b), [4, 9])
    const { result, executed } = counted(() => values(a))
    assert.deepEqual(result, [2, 3])
    assert.equal(executed, 0)
  })

  it('a changing number or input does not compile again', () => {
    const x = tf.tensor1d([1, 2])
    const f = (n: number) => values(tf.add(tf.mul(x, n), tf.scalar(n)))
    f(3)
    const { result, compiled } = counted(() => [f(4), f(5)])
    assert.deepEqual(result, [
      [8, 12],
      [10, 15],
    ])
    assert.equal(compiled, 0)
  })

  it('equal graphs share a program', () => {
    const f = (x: tf.Tensor) => values(tf.sum(tf.tanh(tf.sub(x, 1))))
    f(tf.ones([7]))
    assert.equal(counted(() => f(tf.fill([7], 2.5))).compiled <= 1, true)
    assert.equal(counted(() => f(tf.fill([7], 3.5))).compiled, 0)
  })

  it('an operation that a loop alone held may be read by what comes after', () => {
    const rows = tf.reshape(tf.mul(tf.tensor1d([1, 2, 3, 4]), 2), [2, 2]) // a view: each reader records the reshape anew
    const [, ys] = scan((none: tf.Tensor[], x: tf.Tensor) => [none, tf.add(x, 1)], [], rows)
    assert.deepEqual(values(ys), [3, 5, 7, 9])
  })

  it('is cut when it grows past its bound', () => {
    let x: tf.Tensor = tf.tensor1d([0])
    const { executed } = counted(() => {
      for (let i = 0; i < 5000; i++) x = tf.tidy(() => tf.add(x, 1))
    })
    assert.ok(executed >= 1, 'cut on the way')
    assert.deepEqual(values(x), [5000])
  })

  it('is not cut in a loop that reads each step', () => {
    const step = (x: tf.Tensor) => {
      const y = tf.tidy(() => tf.add(tf.mul(x, 0.5), tf.square(tf.sin(x))))
      y.dataSync()
      return y
    }
    let x = step(tf.tensor1d([1, 2, 3]))
    const { compiled } = counted(() => {
      for (let i = 0; i < 1500; i++) x = step(x)
    })
    assert.equal(compiled, 0, 'thousands of operations later')
  })

  it('reading does not block the event loop', async () => {
    let ticks = 0
    const timer = setInterval(() => ticks++, 5)
    let x: tf.Tensor = tf.fill([900, 900], 1e-3)
    for (let i = 0; i < 12; i++) x = tf.matMul(x, x)
    await x.data()
    clearInterval(timer)
    assert.ok(ticks >= 3, `${ticks} ticks of a 5 ms timer`)
  })

  it('reads may overlap with recording', async () => {
    const a = tf.add(tf.tensor1d([1, 2]), 1)
    const first = a.data()
    const b = tf.mul(a, 2)
    const second = b.data()
    a.dispose()
    assert.deepEqual([...(await first)], [2, 3])
    assert.deepEqual([...(await second)], [4, 6])
  })

  describe('errors', () => {
    it('of shape are thrown at once, and name both shapes', () => {
      const [a, b] = [tf.ones([2, 3]), tf.ones([4, 5])]
      assert.throws(() => tf.add(a, b), /\[?2,3\]?.*\[?4,5\]?/)
      assert.throws(() => tf.concat([a, b], 0), /2,3.*4,5|Shape/)
      assert.throws(() => tf.matMul(a, b), /3.*4/)
      assert.throws(() => tf.reshape(a, [5]), /6/)
    })

    it('a program that does not compile leaves the engine usable', async () => {
      const broken = () =>
        backend().tensor(new Node('stablehlo.nonsense', [backend().node(tf.ones([2]))], '', [2], 'f32'))
      const bad = broken()
      const good = tf.add(tf.tensor1d([1, 2]), 1)
      assert.throws(() => bad.dataSync(), /Client_Compile/)
      await assert.rejects(bad.data(), /Client_Compile/)
      assert.deepEqual(values(good), [2, 3])
      await assert.rejects(sync(), /Client_Compile/)
      const { executed } = counted(() => {
        let x: tf.Tensor = tf.tensor1d([0])
        for (let i = 0; i < 4200; i++) x = tf.tidy(() => tf.add(x, 1))
      })
      assert.ok(executed > 0, 'the rest of the graph is still cut')
      bad.dispose()
      await sync()
      assert.deepEqual(values(tf.mul(good, 2)), [4, 6])
    })

    it('a disposed tensor says so', () => {
      const a = tf.ones([2])
      a.dispose()
      assert.throws(() => tf.add(a, 1), /disposed/)
    })
  })

  describe('values', () => {
    it('keep their type and their size in bytes', () => {
      for (const [t, wanted] of [
        [tf.tensor1d([true, false, true], 'bool'), [1, 0, 1]],
        [tf.tensor1d([1, -2, 3], 'int32'), [1, -2, 3]],
        [tf.tensor1d([0.5, -2, NaN]), [0.5, -2, NaN]],
      ] as const) {
        const same = tf.reverse(t)
        assert.deepEqual(values(same), [...wanted].reverse())
        assert.equal(same.dtype, t.dtype)
        assert.equal(same.dataSync().buffer.byteLength, 3 * (t.dtype === 'bool' ? 1 : 4))
      }
    })

    it('move between backends', async () => {
      await tf.setBackend('cpu')
      const a = tf.tensor1d([1, 2])
      await tf.setBackend('xla')
      const b = tf.add(a, 1)
      await tf.setBackend('cpu')
      assert.deepEqual(values(tf.mul(b, 2)), [4, 6])
      await tf.setBackend('xla')
      assert.deepEqual(values(b), [2, 3])
    })

    it('survive strings and complex numbers', () => {
      assert.deepEqual(tf.concat([tf.tensor1d(['a']), tf.tensor1d(['b', 'ü'])]).dataSync(), ['a', 'b', 'ü'] as never)
      const before = stats()!.hostKernels
      const z = tf.mul(tf.complex([1, 2], [3, 4]), tf.complex([0, 1], [1, 0]))
      assert.deepEqual(
        [values(tf.real(z)), values(tf.imag(z))],
        [
          [-3, 2],
          [1, 4],
        ],
      )
      assert.ok(stats()!.hostKernels > before, 'counted')
    })
  })

  describe('element types', () => {
    it('bf16 stays bf16 among its own, and gives way to f32', () => {
      const half = astype(tf.tensor1d([1, 2, 3]), 'bf16')
      assert.deepEqual([typeOf(half), half.dtype], ['bf16', 'float32'])
      assert.equal(typeOf(tf.add(half, half)), 'bf16')
      assert.equal(typeOf(tf.add(half, tf.tensor1d([1, 2, 3]))), 'f32')
      assert.equal(typeOf(tf.softmax(half)), 'bf16')
      assert.deepEqual(values(tf.add(half, half)), [2, 4, 6])
    })

    it('sums of bf16 run in f32', () => {
      const many = astype(tf.fill([4096], 1.25), 'bf16')
      assert.deepEqual(values(tf.sum(many)), [5120])
      assert.equal(values(tf.cumsum(astype(tf.ones([400]), 'bf16')))[399], 400)
      assert.deepEqual(values(tf.matMul(tf.reshape(many, [1, -1]), tf.ones([4096, 1]))), [5120])
    })

    it('rounds to nearest even', () => {
      const x = tf.tensor1d([1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38])
      assert.deepEqual(values(astype(astype(x, 'bf16'), 'f32')), [1, 1 + 2 ** -6, Infinity])
    })
  })
})
