import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { astype, jit, memory, scan, start, tensorsOf, typeOf, whileLoop } from '../../src/xla/index.js'
import type { ScanOptions } from '../../src/xla/index.js'
import { agrees, close, onCpu } from './agree.js'
import { Draw } from './draw.js'

/* A state is typed by what it starts with: any tensor. */
const scalar: (value: number, dtype?: 'float32' | 'int32') => tf.Tensor = tf.scalar
const zeros: (shape: number[]) => tf.Tensor = tf.zeros

/** A recurrent step with a closed-over weight: carry tanh(carry·w + x), output carry·x. */
const step =
  (w: tf.Tensor) =>
  (carry: tf.Tensor, x: tf.Tensor): [tf.Tensor, tf.Tensor] => {
    const next = tf.tanh(tf.add(tf.reshape(tf.matMul(tf.reshape(carry, [1, 3]), w as tf.Tensor2D), [3]), x))
    return [next, tf.mul(next, x)]
  }

const loss = ([last, ys]: [tf.Tensor, tf.Tensor]): tf.Tensor => tf.add(tf.sum(tf.square(last)), tf.sum(tf.sin(ys)))

describe('scan', function () {
  this.timeout(60_000) // compiling takes what other work on the machine leaves
  const draw = new Draw(0)
  let w: tf.Tensor, init: tf.Tensor, xs: tf.Tensor
  before(async () => {
    await start({ backend: 'xla' })
    ;[w, init, xs] = [draw.uniform([3, 3], -0.5, 0.5), draw.uniform([3]), draw.uniform([5, 3])]
  })

  const variants: Record<string, ScanOptions> = {
    forward: {},
    reverse: { reverse: true },
    rematerialised: { remat: true },
    'reverse and rematerialised': { reverse: true, remat: true },
  }
  for (const [name, options] of Object.entries(variants))
    it(`${name}: values, and gradients of carry, xs and closed-over tensors`, async () => {
      const [last, ys] = scan(step(w), init, xs, options)
      const [wantedLast, wantedYs] = await onCpu(() => scan(step(w), init, xs, options))
      close(last, wantedLast, 'carry')
      close(ys, wantedYs, 'ys')
      await agrees((w, init, xs) => loss(scan(step(w), init, xs, options)), [w, init, xs])
    })

  for (const steps of [0, 1])
    it(`of ${steps} steps`, async () => {
      const some = tf.slice(xs, 0, steps)
      const [last, ys] = scan(step(w), init, some)
      assert.deepEqual([last.shape, ys.shape], [[3], [steps, 3]])
      const [, eager] = await onCpu(() => scan(step(w), init, some))
      assert.deepEqual(eager.shape, ys.shape)
      if (steps > 0) await agrees((w, init, some) => loss(scan(step(w), init, some)), [w, init, some])
      else
        assert.deepEqual(
          [
            ...tf
              .grad(c => tf.sum(scan(step(w), c, some)[0]))(init)
              .dataSync(),
          ],
          [1, 1, 1],
        )
    })

  it('takes trees, integers beside floats, and no xs', async () => {
    const f = (x: tf.Tensor) => {
      const [state, ys] = scan(
        ({ n, x }: { n: tf.Tensor; x: tf.Tensor }) => [
          { x: tf.mul(x, 2), n: tf.add(n, tf.scalar(1, 'int32')) }, // other order than in the first carry
          [tf.add(x, tf.cast(n, 'float32'))],
        ],
        { n: scalar(0, 'int32'), x },
        null,
        { length: 4 },
      )
      return { state, ys: ys[0]! }
    }
    const { state, ys } = f(tf.scalar(1))
    assert.deepEqual([state.n.dtype, state.n.dataSync()[0], state.x.dataSync()[0]], ['int32', 4, 16])
    assert.deepEqual([...ys.dataSync()], [1, 3, 6, 11])
    await agrees(x => tf.add(f(x).state.x, tf.sum(tf.square(f(x).ys))), [tf.scalar(1)])
  })

  it('differentiates past integers in carry and xs', async () => {
    const ids = tf.tensor1d([2, 0, 2], 'int32')
    await agrees(
      table => {
        const body = (c: { n: tf.Tensor; sum: tf.Tensor }, i: tf.Tensor): [typeof c, tf.Tensor] => [
          { n: tf.add(c.n, i), sum: tf.add(tf.mul(c.sum, 2), tf.gather(table, i)) },
          c.n,
        ]
        const [last, ns] = scan(body, { n: scalar(0, 'int32'), sum: zeros([2]) }, ids)
        return tf.sum(tf.mul(last.sum, tf.cast(tf.sum(ns), 'float32')))
      },
      [tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2])],
    )
  })

  it('passes gradients through reshaped, cloned and cast tensors of the closure', () =>
    agrees(
      (w, v) => {
        const body = (c: tf.Tensor, x: tf.Tensor): [tf.Tensor, null] => [
          tf.tanh(tf.add(tf.mul(tf.add(c, x), tf.reshape(w, [3])), tf.cast(tf.clone(v), 'float32'))),
          null,
        ]
        return tf.sum(scan(body, init, xs)[0])
      },
      [draw.uniform([1, 3]), draw.uniform([3])],
    ))

  it('passes gradients to one tensor that is carry, slices and closed over, and through a carry that stays', () =>
    agrees(
      x => {
        const body = (c: { a: tf.Tensor; same: tf.Tensor }, row: tf.Tensor): [typeof c, tf.Tensor] => [
          { a: tf.mul(tf.sin(tf.add(c.a, row)), tf.sum(x)), same: c.same },
          x,
        ]
        const [last, ys] = scan(body, { a: tf.slice(x, [0, 0], [1, 2]), same: x }, x)
        return tf.add(tf.sum(tf.square(last.same)), tf.sum(tf.mul(tf.square(ys), tf.sum(last.a))))
      },
      [draw.uniform([3, 2], -1, 1)],
    ))

  it('nests', () =>
    agrees(
      v =>
        scan(
          (c: tf.Tensor, row: tf.Tensor) => {
            const [inner] = scan((a: tf.Tensor, x: tf.Tensor) => [tf.add(tf.mul(a, v), x), null], c, row)
            return [inner, null]
          },
          scalar(1),
          tf.tensor2d([1, 2, 3, 4], [2, 2]),
        )[0],
      [tf.scalar(0.7)],
    ))

  it('differentiates through tf.customGrad', () => {
    const clipped = tf.customGrad((x, save) => {
      ;(save as tf.GradSaveFunc)([x as tf.Tensor])
      return {
        value: tf.square(x as tf.Tensor),
        gradFunc: (dy: tf.Tensor, [x]: tf.Tensor[]) => tf.clipByValue(tf.mul(dy, tf.mul(x!, 2)), -0.5, 0.5),
      }
    })
    const f = (init: tf.Tensor) =>
      tf.sum(scan((c: tf.Tensor, x: tf.Tensor) => [clipped(tf.sin(tf.add(c, x))), null], init, xs)[0])
    return onCpu(() => tf.grad(f)(init)).then(wanted => close(tf.grad(f)(init), wanted))
  })

  it('holds a jitted step that takes gradients, of a scan, itself: gradient descent', async () => {
    const target = draw.uniform([3])
    const slope = jit((w: tf.Tensor, x: tf.Tensor) => {
      const power = (w: tf.Tensor) => scan((c: tf.Tensor) => [tf.mul(c, w), null], x, null, { length: 2 })[0]
      return tf.grad((w: tf.Tensor) => tf.sum(tf.squaredDifference(power(w), target)))(w)
    })
    const descend = (w: tf.Tensor) =>
      scan((w: tf.Tensor, x: tf.Tensor) => [tf.sub(w, tf.mul(slope(w, x), 0.01)), null], w, xs)[0]
    const got = jit(descend)(init)
    close(got, await onCpu(() => descend(init)))
  })

  it('differentiates through gradients of plain operations in its steps', () =>
    agrees(
      (init, xs) => {
        const body = (w: tf.Tensor, x: tf.Tensor): [tf.Tensor, null] => [
          tf.sub(w, tf.mul(tf.grad((w: tf.Tensor) => tf.sum(tf.mul(tf.square(w), tf.mul(w, x))))(w), 0.02)),
          null,
        ]
        return tf.sum(tf.square(scan(body, init, xs)[0]))
      },
      [init, xs],
    ))

  it('refuses a second derivative, unless it is of a constant', () => {
    const f = (x: tf.Tensor) => tf.sum(scan((c: tf.Tensor) => [tf.mul(c, x), null], x, null, { length: 2 })[0])
    assert.throws(() => tf.grad(x => tf.sum(tf.grad(f)(x)))(init), /second derivative.*differentiated once/)
    const slope = tf.grad((x: tf.Tensor) => tf.sum(tf.mul(x, tf.grad(f)(init))))(tf.ones([3]))
    close(slope, tf.mul(tf.square(init), 3))
  })

  it('keeps bf16 in the carry, in both directions', () => {
    const f = (x: tf.Tensor) => {
      const body = (c: tf.Tensor, x: tf.Tensor): [tf.Tensor, tf.Tensor] => {
        const next = astype(tf.mul(c, tf.add(x, w0)), 'bf16') // f32 within the step
        return [next, next]
      }
      const [last, ys] = scan(body, astype(x, 'bf16'), tf.ones([3, 2]))
      assert.deepEqual([typeOf(last), typeOf(ys)], ['bf16', 'bf16'])
      return tf.add(tf.sum(astype(last, 'f32')), tf.sum(astype(ys, 'f32')))
    }
    const w0 = tf.scalar(1)
    const x = tf.tensor1d([1, 3])
    assert.equal(f(x).dataSync()[0], 4 * (8 + 2 + 4 + 8))
    assert.deepEqual([...tf.grad(f)(x).dataSync()], [22, 22])
    const power = (c: tf.Tensor) => scan((c: tf.Tensor) => [tf.mul(c, c), null], c, null, { length: 2 })[0]
    const slope = tf.grad(power)(astype(tf.scalar(1.5), 'bf16')) // of a value that is bf16 itself
    assert.deepEqual([typeOf(slope), slope.dataSync()[0]], ['bf16', 13.5])
  })

  it('is recorded once: what changes afterwards does not change its gradient', () => {
    const variable = tf.variable(tf.scalar(2))
    let factor = 3
    const f = (x: tf.Tensor) => {
      const local = tf.scalar(5) // disposed before the gradient is computed
      const body = (c: tf.Tensor): [tf.Tensor, null] => [tf.mul(tf.mul(c, tf.mul(variable, local)), factor), null]
      const [y] = scan(body, x, null, { length: 1, remat: true })
      variable.assign(tf.scalar(100))
      factor = 100
      return y
    }
    assert.deepEqual([...tf.grad(f)(tf.scalar(1)).dataSync()], [30])
    variable.dispose()
  })

  it('works inside jit, and with a while loop inside', () => {
    const f = jit((xs: tf.Tensor) =>
      scan(
        (c: tf.Tensor, x: tf.Tensor) => {
          const doubled = whileLoop(
            (s: tf.Tensor) => tf.less(s, 100),
            (s: tf.Tensor) => tf.mul(s, 2),
            tf.add<tf.Tensor>(c, x),
          )
          return [doubled, c]
        },
        scalar(1),
        xs,
      ),
    )
    const [last, ys] = f(tf.tensor1d([2, 1]))
    assert.deepEqual([...last.dataSync(), ...ys.dataSync()], [193, 1, 192])
  })

  it('says what is wrong', () => {
    const body = (c: tf.Tensor, [a]: tf.Tensor[]): [tf.Tensor, null] => [tf.add(c, a!), null]
    assert.throws(() => scan(body, tf.scalar(0), [tf.zeros([2]), tf.zeros([3])]), /leading axes of xs are 2, 3/)
    assert.throws(() => scan((c: tf.Tensor) => [c, c], tf.scalar(0), null), /Pass \{ length \}/)
    assert.throws(
      () => scan((c: tf.Tensor): [tf.Tensor, null] => [tf.concat([c, c]), null], zeros([1]), null, { length: 2 }),
      /tensor<2xf32>, needed tensor<1xf32>/,
    )
    const loses = (c: { a: tf.Tensor; b?: tf.Tensor }): [typeof c, null] => [{ a: c.a }, null]
    assert.throws(
      () => scan(loses, { a: zeros([1]), b: zeros([1]) }, null, { length: 2 }),
      /loses: the carry has a; needed a, b/,
    )
    assert.deepEqual([...tf.add(tf.scalar(1), 1).dataSync()], [2])
  })

  it('holds nothing when its gradient is not computed', () => {
    const before = memory()!.buffers
    tf.tidy(() =>
      tf
        .grad(x => (scan(step(w), x, xs), tf.sum(x)))(init)
        .dataSync(),
    )
    assert.equal(memory()!.buffers, before)
  })

  describe('what the backward pass reads', () => {
    const [L, T, C, I] = [16, 32, 16, 64]
    const weights = () => ({ up: draw.uniform([L, C, I], -0.2, 0.2), down: draw.uniform([L, I, C], -0.2, 0.2) })
    type Layer = { up: tf.Tensor; down: tf.Tensor }
    const layer = (x: tf.Tensor, w: Layer): [tf.Tensor, null] => {
      const u = tf.matMul(x, w.up) // [T, I]
      return [tf.add(x, tf.matMul(tf.mul(tf.mul(u, tf.sigmoid(tf.mul(u, 1.7))), tf.add(u, 1)), w.down)), null]
    }
    const bytes = (f: (w: Layer, x: tf.Tensor) => unknown) => jit(f).memory(weights(), draw.uniform([T, C])).temporary
    const value = (w: Layer, x: tf.Tensor) => tf.sum(tf.square(scan(layer, x, w)[0]))
    const stack = 4 * L * T * I

    const all = (w: Layer, x: tf.Tensor) => tf.grads((up, down) => value({ up: up, down: down }, x))(tensorsOf(w))
    const one = (w: Layer, x: tf.Tensor) => tf.grad((up: tf.Tensor) => value({ ...w, up }, x))(w.up)

    it('is kept once: what elementwise operations make of it is computed anew', () => {
      // One stack [L, T, I], one [L, T, C], and room for single steps: half of a stack.
      assert.ok(bytes(all) < stack * (1.5 + C / I), `${bytes(all)} bytes for stacks of ${stack}`)
    })

    it('is not kept for gradients that nobody asks for, nor are those computed', () => {
      const gradient = 4 * L * I * C // an output of one program; the other would need room for it
      assert.ok(bytes(one) < bytes(all) + gradient / 2, `${bytes(one)} bytes against ${bytes(all)}`)
    })
  })
})
