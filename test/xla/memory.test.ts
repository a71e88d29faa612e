import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { cond, copy, disposeTree, jit, memory, scan, start, stats, sync, whileLoop } from '../../src/xla/index.js'
import { collect } from '../collect.js'

const STEPS = 50

interface Held {
  tensors: number
  dataIds: number
  buffers: number
}

function held(): Held {
  const { numTensors, numDataBuffers } = tf.memory()
  return { tensors: numTensors, dataIds: numDataBuffers, buffers: memory()!.buffers }
}

/** Runs `step` until memory has settled, and then asserts that further steps hold no more of it. */
async function holdsNoMore(step: () => void | Promise<void>): Promise<void> {
  for (let i = 0; i < 3; i++) await step()
  const before = held()
  for (let i = 0; i < STEPS; i++) await step()
  assert.deepEqual(held(), before)
}

type State = { w: tf.Tensor; m: tf.Tensor }

/** One step of gradient descent with momentum on a small regression. */
function descend(state: State, x: tf.Tensor, y: tf.Tensor): State & { loss: tf.Tensor } {
  const { value, grad } = tf.valueAndGrad(w => tf.mean(tf.squaredDifference(tf.matMul(x, w), y)))(state.w)
  const m = tf.add(tf.mul(state.m, 0.9), grad)
  return { w: tf.sub(state.w, tf.mul(m, 0.1)), m, loss: value }
}

/** A step from one value to the next, lazily. */
function follow(f: (x: tf.Tensor) => tf.Tensor): () => void {
  let x: tf.Tensor = copy(tf.tensor1d([0.1, 0.2, 0.3]))
  return () => {
    const next = tf.tidy(() => f(x))
    next.dataSync()
    x.dispose()
    x = next
  }
}

const initial = (): State => ({ w: copy(tf.zeros([3, 2])), m: copy(tf.zeros([3, 2])) })

describe('memory', function () {
  this.timeout(30_000) // compiling takes what other work on the machine leaves
  const x = tf.tidy(() => tf.tensor2d([1, 2, 3, 4, 5, 6, 7, 8, 10], [3, 3]))
  const y = tf.tensor2d([1, 0, 0, 1, 1, 1], [3, 2])
  before(() => start({ backend: 'xla' }))

  it(`${STEPS} jitted steps leak no tensor and no buffer`, async () => {
    const step = jit(descend, { donate: [0] })
    let { w, m } = initial()
    await holdsNoMore(async () => {
      const next = step({ w, m }, x, y)
      await next.loss.data()
      next.loss.dispose()
      ;({ w, m } = next)
    })
    disposeTree([w, m])
  })

  it(`${STEPS} asynchronous steps without donation leak neither`, async () => {
    const step = jit(descend)
    let { w, m } = initial()
    await holdsNoMore(async () => {
      const next = await step.async({ w, m }, x, y)
      disposeTree([next.loss, w, m])
      ;({ w, m } = next)
    })
    disposeTree([w, m])
  })

  it(`${STEPS} lazy steps leak neither`, async () => {
    let { w, m } = initial()
    await holdsNoMore(() => {
      const next = tf.tidy(() => descend({ w, m }, x, y))
      next.loss.dataSync()
      disposeTree([next.loss, w, m])
      ;({ w, m } = next)
    })
    disposeTree([w, m])
  })

  it('neither does a loss that nobody reads', async () => {
    await holdsNoMore(async () => {
      const loss = tf.tidy(() => descend(initial(), x, y).loss)
      loss.dispose()
      await sync()
    })
  })

  for (const remat of [false, true])
    it(`gradients of scans leak neither${remat ? ', rematerialised' : ''}`, async () => {
      const xs = tf.ones([4, 3])
      const f = (w: tf.Tensor) =>
        tf.sum(
          scan(
            (c: tf.Tensor, row: tf.Tensor) => {
              const next = tf.tanh(tf.add(tf.mul(c, w), row))
              return [next, next]
            },
            tf.zeros<tf.Rank>([3]),
            xs,
            { remat },
          )[1],
        )
      const w = tf.tensor1d([0.1, 0.2, 0.3])
      await holdsNoMore(() => tf.tidy(() => void tf.grad(f)(w)))
      const jitted = jit((v: tf.Tensor) => tf.grad(f)(v))
      await holdsNoMore(() => jitted(w).dispose())
      await holdsNoMore(follow(v => tf.grad(f)(v)))
      disposeTree([xs, w])
    })

  it('lazy loops and branches leak neither, whichever of their results are used', async () => {
    const one = tf.scalar(1)
    const loop = (x: tf.Tensor) =>
      whileLoop(
        s => tf.less(s.i, 3),
        s => ({ i: tf.add(s.i, one), x: tf.mul(s.x, 0.5) }),
        { i: tf.neg<tf.Tensor>(one), x },
      ).x
    await holdsNoMore(follow(loop))
    await holdsNoMore(
      follow(
        x =>
          cond(
            tf.greater(tf.sum(x), one),
            () => [x, tf.neg(x)],
            () => [tf.neg(x), x],
          )[0]!,
      ),
    )
    await holdsNoMore(follow(x => scan((c: tf.Tensor, row: tf.Tensor) => [tf.mul(c, row), c], x, tf.stack([x, x]))[0]))
    one.dispose()
  })

  it('variables assigned in jit let go of what they held', async () => {
    const total = tf.variable(tf.zeros([4]))
    const add = jit((v: tf.Tensor) => {
      total.assign(tf.add(total, v))
      return tf.sum(total)
    })
    const one = tf.ones([4])
    await holdsNoMore(() => add(one).dispose())
    disposeTree([total, one])
  })

  it('a value lives while something pending needs it', () => {
    const before = held()
    const a = tf.tensor1d([1, 2, 3])
    const b = tf.add(a, 1)
    const c = tf.mul(b, b)
    a.dispose()
    b.dispose()
    assert.deepEqual([...c.dataSync()], [4, 9, 16])
    assert.equal(held().buffers, before.buffers + 1, 'only the result is left')
    c.dispose()
    assert.deepEqual(held(), before)
  })

  it('what was disposed before it was needed is never computed', async () => {
    await sync()
    const before = stats()!.executed
    const a = tf.add(tf.tensor1d([1, 2, 3]), 1)
    const b = tf.exp(a)
    disposeTree([a, b])
    await sync()
    assert.equal(stats()!.executed, before)
  })

  it('a tensor may be disposed while it is being read', async () => {
    const a = tf.add(tf.tensor1d([1, 2, 3]), 1)
    const reading = a.data()
    a.dispose()
    assert.deepEqual([...(await reading)], [2, 3, 4])
  })

  it('tidy frees what was made inside', () => {
    const before = held()
    const kept = tf.tidy(() => {
      const a = tf.randomUniform([100])
      return tf.sum(tf.square(a))
    })
    kept.dataSync()
    kept.dispose()
    assert.deepEqual(held(), before)
  })

  it('tensors that are dropped without being disposed give their memory back', async () => {
    const before = memory()!.bytes
    for (let i = 0; i < 8; i++) tf.add(tf.fill([256, 1024], i), 1).dataSync()
    assert.ok(memory()!.bytes - before >= 8 * 2 ** 20, 'held at first')
    for (let i = 0; i < 20 && memory()!.bytes > before; i++) {
      collect()
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    assert.ok(memory()!.bytes <= before + 2 ** 20, `${memory()!.bytes - before} bytes are left`)
  })

  it('clones share memory, copies have their own', () => {
    const a = tf.ones([1000])
    a.dataSync()
    const { bytes } = memory()!
    const clone = tf.clone(a)
    clone.dataSync()
    assert.equal(memory()!.bytes, bytes)
    const own = copy(a)
    own.dataSync()
    assert.equal(memory()!.bytes, bytes + 4000)
    disposeTree([a, clone, own])
  })
})
