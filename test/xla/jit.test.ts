import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import * as tf from '@tensorflow/tfjs-core'
import { copy, disposeTree, jit, scan, start, stats } from '../../src/xla/index.js'

const values = (t: tf.Tensor): number[] => Array.from(t.dataSync())
const traced = () => stats()!.traced
const compiled = () => stats()!.compiled

describe('jit', function () {
  this.timeout(30_000) // compiling takes what other work on the machine leaves
  before(() => start({ backend: 'xla' }))

  it('gives what the function gives, nested containers in and out', () => {
    const f = (state: { w: tf.Tensor; b: tf.Tensor[] }, x: tf.Tensor) => ({
      y: [tf.add(tf.matMul(x, state.w), state.b[0]!)],
      sum: tf.sum(state.b[1]!),
    })
    const state = { w: tf.tensor2d([1, 2, 3, 4], [2, 2]), b: [tf.tensor1d([10, 20]), tf.tensor1d([1, 2, 3])] }
    const x = tf.tensor2d([1, 1, 2, 0], [2, 2])
    const got = jit(f)(state, x)
    assert.deepEqual(values(got.y[0]!), values(f(state, x).y[0]!))
    assert.deepEqual(values(got.sum), [6])
  })

  it('traces once per signature: structure, shapes, types and static values', () => {
    let runs = 0
    const f = jit((x: tf.Tensor, power: number) => {
      runs++
      return tf.pow(x, power)
    })
    const before = traced()
    assert.deepEqual(values(f(tf.tensor1d([1, 2]), 2)), [1, 4])
    assert.deepEqual(values(f(tf.tensor1d([3, 4]), 2)), [9, 16])
    assert.equal(runs, 1, 'same signature')
    assert.deepEqual(values(f(tf.tensor1d([3, 4]), 3)), [27, 64])
    assert.equal(runs, 2, 'another static value')
    f(tf.tensor1d([1, 2, 3]), 2)
    assert.equal(runs, 3, 'another shape')
    f(tf.tensor1d([1, 2], 'int32'), 2)
    assert.equal(runs, 4, 'another type')
    assert.equal(traced() - before, 4, 'stats() tells')
  })

  it('reads captured tensors and variables as they are at each call', () => {
    const fixed = tf.tensor1d([1, 2])
    const variable = tf.variable(tf.tensor1d([10, 20]))
    const f = jit((x: tf.Tensor) => tf.add(tf.add(x, fixed), variable))
    const x = tf.tensor1d([0, 0])
    assert.deepEqual(values(f(x)), [11, 22])
    variable.assign(tf.tensor1d([100, 200]))
    const before = traced()
    assert.deepEqual(values(f(x)), [101, 202])
    assert.equal(traced(), before)
    variable.dispose()
  })

  it('assigns variables', () => {
    const count = tf.variable(tf.scalar(0))
    const f = jit((x: tf.Tensor) => {
      count.assign(tf.add(count, 1))
      return tf.mul(x, count)
    })
    assert.deepEqual(
      [f(tf.scalar(2)), f(tf.scalar(2)), f(tf.scalar(2))].map(t => values(t)[0]),
      [2, 4, 6],
    )
    assert.deepEqual(values(count), [3])
    count.dispose()
  })

  it('draws values made while tracing once: they are constants', () => {
    const f = jit((x: tf.Tensor) => tf.add(x, tf.randomUniform([2])))
    const x = tf.zeros([2])
    assert.deepEqual(values(f(x)), values(f(x)))
  })

  it('keeps what it captured, whatever is disposed', () => {
    const captured = tf.tensor1d([1, 2])
    const f = jit((x: tf.Tensor) => tf.mul(x, captured))
    const x = tf.tensor1d([3, 4])
    assert.deepEqual(values(f(x)), [3, 8])
    captured.dispose()
    assert.deepEqual(values(f(x)), [3, 8])
  })

  it('works on a value not computed yet, and on a reshaped one', () => {
    const f = jit((x: tf.Tensor) => tf.sum(x, 0))
    const pending = tf.add(tf.tensor2d([1, 2, 3, 4], [2, 2]), 1)
    assert.deepEqual(values(f(tf.reshape(pending, [2, 2]))), [6, 8])
    assert.deepEqual(values(f(tf.reshape(pending, [4, 1]))), [14])
  })

  it('returns arguments, constants and the same value twice', () => {
    const f = jit((x: tf.Tensor) => [x, tf.scalar(7), tf.add(x, 1), x])
    const x = tf.scalar(3)
    assert.deepEqual(
      f(x).map(t => values(t)[0]),
      [3, 7, 4, 3],
    )
  })

  it('runs inline inside another', () => {
    const square = jit((x: tf.Tensor) => tf.square(x))
    const f = jit((x: tf.Tensor) => tf.add(square(x), square(tf.add(x, 1))))
    const before = traced()
    assert.deepEqual(values(f(tf.scalar(2))), [13])
    assert.equal(traced() - before, 1)
  })

  it('is differentiated through, and may differentiate inside', () => {
    const cube = jit((x: tf.Tensor) => tf.mul(tf.square(x), x))
    assert.deepEqual(values(tf.grad(x => cube(x))(tf.scalar(2))), [12])
    const slope = jit((x: tf.Tensor) => tf.grad(y => tf.mul(tf.square(y), y))(x))
    assert.deepEqual(values(slope(tf.scalar(3))), [27])
  })

  it('throws on reading inside, on an async function, on a function among the arguments, and stays usable', async () => {
    const reads = jit((x: tf.Tensor) => tf.scalar(x.dataSync()[0]!), { name: 'reads' })
    assert.throws(() => reads(tf.scalar(1)), /reading a tensor's values inside "reads"/)
    const awaits = jit((x: tf.Tensor) => Promise.resolve(x), { name: 'awaits' })
    assert.throws(() => void awaits(tf.scalar(1)), /awaits.*async/)
    const takes = jit((x: tf.Tensor, f: () => tf.Tensor) => tf.add(x, f()))
    assert.throws(() => takes(tf.scalar(1), () => tf.scalar(1)), /argument is a function/)
    const host = jit((x: tf.Tensor) => tf.unique(x as tf.Tensor1D).values, { name: 'host' })
    assert.throws(() => host(tf.tensor1d([1, 1])), /Unique needs the values.*"host"/)
    const throws = jit((x: tf.Tensor) => tf.matMul(x as tf.Tensor2D, tf.ones([3, 3])))
    assert.throws(() => throws(tf.ones([2, 2])), /matMul|matrix product/)
    assert.deepEqual(values(tf.add(tf.scalar(1), 1)), [2])
    assert.equal((await jit((x: tf.Tensor) => tf.neg(x)).async(tf.scalar(1))).dataSync()[0], -1)
  })

  it('throws when a tensor escapes from tracing', () => {
    let escaped: tf.Tensor | undefined
    const f = jit(
      (x: tf.Tensor) => {
        escaped = tf.keep(tf.add(x, 1))
        return tf.mul(x, 2)
      },
      { name: 'leaky' },
    )
    f(tf.scalar(1))
    assert.throws(() => tf.add(escaped!, 1), /made inside "leaky" is used outside/)
    assert.throws(() => escaped!.dataSync(), /inside "leaky"/)
    escaped!.dispose()
  })

  it('lower shows the program, memory what it needs', () => {
    const f = jit((x: tf.Tensor) => tf.exp(x), { name: 'shown' })
    const x = tf.zeros([16])
    assert.match(f.lower(x), /module @shown[\s\S]*stablehlo\.exponential/)
    assert.equal(f.memory(x).arguments, 64)
    assert.equal(f.memory(x).outputs, 64)
  })

  describe('async', () => {
    it('keeps the event loop alive while it compiles and runs', async () => {
      const f = jit((x: tf.Tensor) => {
        let y = x
        for (let i = 0; i < 60; i++) y = tf.tanh(tf.matMul(y, tf.add(x, i)))
        return y
      })
      let ticks = 0
      const timer = setInterval(() => ticks++, 5)
      const x: tf.Tensor = tf.fill([400, 400], 0.01)
      await f.async(x)
      clearInterval(timer)
      assert.ok(ticks >= 3, `${ticks} ticks of a 5 ms timer`)
    })

    it('holds its inputs until it runs', async () => {
      const f = jit((x: tf.Tensor) => tf.sum(tf.exp(x)), { name: 'held' })
      const x = tf.add(tf.zeros([3]), 0)
      const result = f.async(x)
      assert.deepEqual(values(await result), [3])
    })
  })

  describe('donation', () => {
    it('leaves the event loop free while the program runs', async () => {
      const square = (x: tf.Tensor): [tf.Tensor, null] => [tf.matMul(x, x), null]
      const f = jit((x: tf.Tensor) => scan(square, x, null, { length: 40 })[0], { donate: [0] })
      disposeTree(await f.async(tf.zeros([500, 500]))) // compiled
      let running = true
      const result = f.async(tf.zeros([500, 500])).finally(() => (running = false))
      let turns = 0
      for (; running; turns++) await setImmediate()
      assert.ok(turns > 20, `${turns} turns`)
      disposeTree(await result)
    })

    it('consumes the tensor, and says so when it is used', () => {
      const f = jit((x: tf.Tensor, y: tf.Tensor) => tf.add(x, y), { donate: [0], name: 'step' })
      const x = copy(tf.tensor1d([1, 2]))
      const y = tf.tensor1d([10, 20])
      assert.deepEqual(values(f(x, y)), [11, 22])
      assert.throws(() => x.dataSync(), /donated to "step"/)
      assert.throws(() => tf.add(x, 1), /donated to "step"/)
      assert.throws(() => f(x, y), /donated to "step"/)
      assert.deepEqual(values(y), [10, 20])
    })

    it('reuses the memory', () => {
      const f = jit((x: tf.Tensor) => tf.add(x, 1), { donate: [0] })
      const x = copy(tf.zeros([1024]))
      assert.equal(f.memory(x).aliased, 4096)
      disposeTree(f(x))
    })

    it('other programs see what an update in place wrote', () => {
      const update = jit((w: tf.Tensor) => tf.add(w, 1), { donate: [0] })
      const product = jit((x: tf.Tensor, w: tf.Tensor) => tf.matMul(x, w)) // of a size for which the plugin packs w
      const x: tf.Tensor = tf.ones([248, 512])
      let w: tf.Tensor = copy(tf.ones([512, 128]))
      for (let i = 1; i <= 4; i++) {
        const y = product(x, w)
        assert.equal(values(y)[0], 512 * i)
        y.dispose()
        w = update(w)
      }
    })

    it('refuses a tensor with other references', () => {
      const f = jit((x: { a: tf.Tensor; b?: tf.Tensor }) => tf.add(x.a, 1), { donate: [0], name: 'step' })
      const a = tf.tensor1d([1, 2])
      const clone = tf.clone(a)
      assert.throws(() => f({ a }), /jit\(step\).*other references/)
      clone.dispose()
      const reshaped = tf.reshape(a, [2, 1])
      assert.throws(() => f({ a }), /other references/)
      reshaped.dispose()
      assert.throws(() => f({ a, b: a }), /other references/)
      const waiting = tf.add(a, 1)
      assert.throws(() => f({ a }), /other references/)
      assert.deepEqual(values(waiting), [2, 3])
      assert.deepEqual(values(f({ a })), [2, 3], 'nothing else holds it any more')
    })

    it('carries a state through steps without growing', () => {
      const f = jit((s: { x: tf.Tensor; n: tf.Tensor }) => ({ x: tf.mul(s.x, 2), n: tf.add(s.n, 1) }), { donate: [0] })
      let state: { x: tf.Tensor; n: tf.Tensor } = { x: copy(tf.ones([3])), n: copy(tf.scalar(0)) }
      const before = compiled()
      for (let i = 0; i < 5; i++) state = f(state)
      assert.deepEqual([...values(state.x), ...values(state.n)], [32, 32, 32, 5])
      assert.ok(compiled() - before <= 2)
    })
  })
})
